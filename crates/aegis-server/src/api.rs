//! The operators' and agents' API.

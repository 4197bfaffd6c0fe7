//! Wire in, wire out: the listeners and adapters. No rules here.

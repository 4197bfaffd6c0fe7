//! Calls through real listeners: what comes in is decided, recorded, and forwarded or not one byte of it.

mod calls;
mod connections;
mod egress;
mod ext_authz;
mod framing;
mod hardening;
mod secure;
mod upstream;
mod within;
mod world;

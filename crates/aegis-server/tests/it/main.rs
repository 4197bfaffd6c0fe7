//! The server's parts together: a real store, real policies, real sockets on loopback.

mod enforce;
mod intercept;

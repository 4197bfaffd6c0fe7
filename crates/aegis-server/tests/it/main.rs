//! The server's parts together: a real store, real policies, real sockets on loopback.

#[cfg(test)]
mod enforce;
#[cfg(test)]
mod intercept;
#[cfg(test)]
mod wycheproof;

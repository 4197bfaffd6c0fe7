//! The server's parts together: a real store, real policies, real sockets on loopback.
#![expect(clippy::tests_outside_test_module, reason = "an integration test is nothing else")]

mod enforce;

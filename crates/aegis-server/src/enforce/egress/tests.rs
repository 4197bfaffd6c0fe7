use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aegis_core::call::Destination;

use super::Egress;
use crate::enforce::Toward;
use crate::enforce::connect::Lookup;
use crate::enforce::settings::{PrivateNetworks, Settings, SettingsError, Timeouts};
use crate::enforce::testing::{destination, route};

const PUBLIC: &str = "93.184.215.14:443";

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().expect("an address")).collect()
}

/// A resolver that answers the first question with `first`, and every later one with loopback; and its counter.
fn flipping(first: &[&str]) -> (Lookup, Arc<AtomicUsize>) {
    let (first, asked) = (addresses(first), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |_, port| {
        let later = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        let answer = if counter.fetch_add(1, Ordering::SeqCst) == 0 { first.clone() } else { later };
        Box::pin(async move { Ok(answer) })
    });
    (lookup, asked)
}

async fn resolve(settings: Settings, answer: &[&str], host: &str) -> Result<Vec<SocketAddr>, String> {
    let egress = Egress::new(settings, flipping(answer).0).expect("settings");
    at(&egress, &destination("https", host, 443)).await
}

/// The addresses, or the guard's reason.
async fn at(egress: &Egress, to: &Destination) -> Result<Vec<SocketAddr>, String> {
    match egress.resolve(to).await {
        Ok(Toward::Addresses(addresses)) => Ok(addresses),
        Ok(other) => panic!("{other:?}"),
        Err(violation) => {
            assert_eq!((violation.rule.as_str(), violation.param.as_deref()), ("egress_guard", Some("host")));
            Err(violation.reason)
        }
    }
}

#[tokio::test]
async fn every_address_of_a_name_must_be_public() {
    let deny = Settings::default;
    assert_eq!(resolve(deny(), &[PUBLIC, PUBLIC], "a.example").await, Ok(addresses(&[PUBLIC])));
    for (private, allowable) in [
        ("127.0.0.1:443", true),
        ("10.0.0.1:443", true),
        ("100.64.0.1:443", true),
        ("[::1]:443", true),
        ("[::ffff:10.0.0.1]:443", true),
        ("[fd00::1]:443", true),
        ("169.254.169.254:443", false),
        ("[fd00:ec2::254]:443", false),
        ("[2002:a9fe:a9fe::]:443", false),
        ("0.0.0.0:443", false),
        ("224.0.0.1:443", false),
    ] {
        let refused = Err("private_network".to_owned());
        assert_eq!(resolve(deny(), &[PUBLIC, private], "a.example").await, refused, "{private}");
        let allow = Settings { private_networks: PrivateNetworks::Allow, ..Settings::default() };
        assert_eq!(resolve(allow, &[private], "a.example").await.is_ok(), allowable, "{private}");
    }
    assert_eq!(resolve(deny(), &[], "10.0.0.1").await, Err("private_network".to_owned()), "a literal too");
    assert_eq!(resolve(deny(), &[], "93.184.215.14").await, Ok(addresses(&[PUBLIC])));
    assert_eq!(resolve(deny(), &[], "a.example").await, Err("unresolvable".to_owned()));
}

#[tokio::test]
async fn an_override_is_the_operators_word() {
    let local: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
    let settings = Settings { overrides: [("a.example:443".to_owned(), local)].into(), ..Settings::default() };
    let (lookup, asked) = flipping(&[PUBLIC]);
    let egress = Egress::new(settings, lookup).expect("settings");
    assert_eq!(at(&egress, &destination("https", "a.example", 443)).await, Ok(vec![local]));
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn connections_are_shared_only_at_the_same_addresses() {
    let egress = Egress::new(Settings::default(), flipping(&[]).0).expect("settings");
    let profile = |scheme: &str, address: &str| {
        let toward = Toward::Addresses(addresses(&[address]));
        egress.profile(&toward, Some(&destination(scheme, "a.example", 443)), false).expect("a profile")
    };
    let first = profile("http", PUBLIC);
    assert!(Arc::ptr_eq(&first, &profile("http", PUBLIC)));
    assert!(!Arc::ptr_eq(&first, &profile("http", "93.184.215.15:443")));
    assert!(!Arc::ptr_eq(&first, &profile("https", PUBLIC)));
}

#[tokio::test]
async fn aegis_itself_is_never_a_destination() {
    for (own, host) in [("127.0.0.1:443", "127.0.0.1"), ("0.0.0.0:443", "127.0.0.1"), ("127.0.0.1:443", "0.0.0.0")] {
        let settings = Settings {
            own_addresses: addresses(&[own]),
            private_networks: PrivateNetworks::Allow,
            ..Settings::default()
        };
        assert_eq!(resolve(settings, &[], host).await, Err("own_address".to_owned()), "{own} {host}");
    }
    let own = Settings { own_addresses: addresses(&["0.0.0.0:443"]), ..Settings::default() };
    assert!(resolve(own, &[PUBLIC], "a.example").await.is_ok(), "somebody else's port of the same number");
}

#[tokio::test]
async fn a_resolver_that_fails_or_hangs_refuses() {
    let failing: Lookup = Arc::new(|_, _| Box::pin(async { Err(io::Error::other("no")) }));
    let hanging: Lookup = Arc::new(|_, _| Box::pin(std::future::pending()));
    for lookup in [failing, hanging] {
        let timeouts = Timeouts { resolve: Duration::from_millis(20), ..Timeouts::default() };
        let egress = Egress::new(Settings { timeouts, ..Settings::default() }, lookup).expect("settings");
        let refused = egress.resolve(&destination("https", "a.example", 443)).await.expect_err("refused");
        assert_eq!(refused.reason, "unresolvable");
    }
}

#[tokio::test]
async fn two_routes_have_two_names() {
    let settings = Settings { routes: vec![route("http://a"), route("http://b")], ..Settings::default() };
    let refused = Egress::new(settings, flipping(&[]).0).err();
    assert_eq!(refused, Some(SettingsError::DuplicateRoute("tool".to_owned())));
}

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aegis_core::call::{Destination, Payload};
use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{Direct, UpstreamProxy};
use crate::enforce::connect::{Lookup, system_lookup};
use crate::enforce::egress::Egress;
use crate::enforce::exchange::Opened;
use crate::enforce::settings::{PrivateNetworks, Roots, RouteUpstream, Settings};
use crate::enforce::testing::{call, destination, pki, read_until, request, route, upstream};
use crate::enforce::{Failure, Live, Meter, Toward};

/// A proxy that leads everything to `to`, and what it was asked.
async fn proxy(to: SocketAddr, answer: &'static str) -> (SocketAddr, Arc<Mutex<String>>) {
    let asked = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&asked);
    let address = upstream(move |mut stream: TcpStream| {
        let heard = Arc::clone(&heard);
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            heard.lock().expect("no panic").push_str(&head);
            if !head.starts_with("CONNECT ") || !answer.contains(" 200 ") {
                stream.write_all(answer.as_bytes()).await.expect("written");
                return;
            }
            stream.write_all(answer.as_bytes()).await.expect("written");
            let mut upstream = TcpStream::connect(to).await.expect("connected");
            // How it ends is the ends' affair.
            let _ = copy_bidirectional(&mut stream, &mut upstream).await;
        }
    })
    .await;
    (address, asked)
}

fn settings(proxy: SocketAddr, resolves: bool, direct: &[&str]) -> Settings {
    let text = format!("http://user:p%40ss@proxy.example:{}/", proxy.port());
    let direct = direct.iter().map(|text| text.parse().expect("direct")).collect();
    let proxied = UpstreamProxy { direct, resolves, ..text.parse().expect("a proxy") };
    let overrides = [(format!("proxy.example:{}", proxy.port()), proxy)].into();
    Settings { proxy: Some(proxied), overrides, private_networks: PrivateNetworks::Deny, ..Settings::default() }
}

fn public() -> Lookup {
    Arc::new(|_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([93, 184, 215, 14], port))]) }))
}

async fn get(egress: &Egress, to: Destination) -> Result<Opened, Failure> {
    let toward = egress.resolve(&to).await.expect("reachable");
    let call = call(Payload::Http(request(Method::GET, "/x", &[("x-mine", "1")], "")), Some(to));
    egress.open(call, Live::default(), &toward, &[], &Meter::default()).await
}

async fn secure() -> (SocketAddr, Vec<u8>) {
    let pki = pki(&["a.example"]);
    let acceptor = TlsAcceptor::from(pki.server);
    let address = upstream(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
            stream.write_all(answer).await.expect("written");
        }
    })
    .await;
    (address, pki.ca)
}

#[tokio::test]
async fn tls_goes_through_it_to_the_checked_address_or_to_the_name_where_it_resolves() {
    for (resolves, asked_for) in [(false, "CONNECT 93.184.215.14:443 "), (true, "CONNECT a.example:443 ")] {
        let (address, ca) = secure().await;
        let (proxy, asked) = proxy(address, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        let settings = Settings { named_roots: Roots::Pem(ca), ..settings(proxy, resolves, &[]) };
        let egress = Egress::new(settings, public()).expect("settings");
        let opened = get(&egress, destination("https", "a.example", 443)).await.expect("an answer");
        let body = opened.response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(&body[..], b"done");
        let asked = asked.lock().expect("no panic").clone();
        assert!(asked.starts_with(asked_for), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic dxnlcjpwqhnz"), "{asked}");
    }
}

#[tokio::test]
async fn plain_requests_go_in_a_tunnel_to_the_checked_address_or_in_absolute_form() {
    let plain = upstream(|mut stream: TcpStream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("GET /x HTTP/1.1") && !head.contains("proxy-authorization"), "{head}");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.expect("written");
    })
    .await;
    let (address, asked) = proxy(plain, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let egress = Egress::new(settings(address, false, &[]), public()).expect("settings");
    assert!(get(&egress, destination("http", "a.example", 80)).await.is_ok());
    assert!(asked.lock().expect("no panic").starts_with("CONNECT 93.184.215.14:80 "));

    let (address, asked) = proxy(plain, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let egress = Egress::new(settings(address, true, &[]), public()).expect("settings");
    assert!(get(&egress, destination("http", "a.example", 80)).await.is_ok());
    let asked = asked.lock().expect("no panic").to_lowercase();
    assert!(asked.starts_with("get http://a.example/x http/1.1\r\n"), "{asked}");
    assert!(asked.contains("proxy-authorization: basic ") && asked.contains("x-mine: 1"), "{asked}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_failure_that_says_so() {
    for (answer, word) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "credential"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "by way of the proxy"),
    ] {
        let nowhere: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        let (address, _) = proxy(nowhere, answer).await;
        for (scheme, port) in [("https", 443), ("http", 80)] {
            let egress = Egress::new(settings(address, false, &[]), public()).expect("settings");
            let failed = get(&egress, destination(scheme, "a.example", port)).await.err().expect("a failure");
            assert!(matches!(&failed, Failure::NotSent(why) if why.contains(word)), "{failed:?}");
        }
    }
    let nowhere: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let (address, _) = proxy(nowhere, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    let egress = Egress::new(settings(address, true, &[]), public()).expect("settings");
    let failed = get(&egress, destination("http", "a.example", 80)).await.err().expect("a failure");
    assert!(matches!(&failed, Failure::NotSent(why) if why.contains("credential")), "{failed:?}");
}

#[tokio::test]
async fn a_proxy_changes_nothing_about_what_may_be_named() {
    let nowhere: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let private: Lookup =
        Arc::new(|_, port| Box::pin(async move { Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]) }));
    for resolves in [false, true] {
        let egress = Egress::new(settings(nowhere, resolves, &["10.0.0.0/8"]), Arc::clone(&private)).expect("settings");
        for host in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "localhost", "a.localhost"] {
            let refused = egress.resolve(&destination("https", host, 443)).await;
            assert_eq!(refused.expect_err("refused").reason, "private_network", "{resolves} {host}");
        }
    }
    let egress = Egress::new(settings(nowhere, false, &[]), private).expect("settings");
    let refused = egress.resolve(&destination("https", "a.example", 443)).await.expect_err("refused");
    assert_eq!(refused.reason, "private_network", "a name that leads there");
    let failing: Lookup = Arc::new(|_, _| Box::pin(async { Err(std::io::Error::other("no")) }));
    let egress = Egress::new(settings(nowhere, false, &[]), failing).expect("settings");
    let refused = egress.resolve(&destination("https", "a.example", 443)).await.expect_err("refused");
    assert_eq!(refused.reason, "unresolvable", "a name that only the proxy knows needs `proxy_resolves`");
}

#[tokio::test]
async fn what_is_listed_as_direct_overridden_or_local_is_reached_without_it() {
    let nowhere: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let mut all = settings(nowhere, true, &["a.example", ".in.example", "93.184.0.0/16"]);
    all.overrides.insert("c.example:443".to_owned(), "127.0.0.1:8443".parse().expect("an address"));
    let egress = Egress::new(all, public()).expect("settings");
    for host in ["a.example", "b.in.example", "93.184.215.14", "c.example"] {
        let toward = egress.resolve(&destination("https", host, 443)).await.expect("reachable");
        assert!(matches!(toward, Toward::Addresses(_)), "{host}: {toward:?}");
    }
    let toward = egress.resolve(&destination("https", "d.example", 443)).await.expect("reachable");
    assert!(matches!(&toward, Toward::Proxied(authority) if authority == "d.example:443"), "{toward:?}");
    let egress = Egress::new(settings(nowhere, false, &["93.184.0.0/16"]), public()).expect("settings");
    let toward = egress.resolve(&destination("https", "d.example", 443)).await.expect("reachable");
    assert!(matches!(toward, Toward::Addresses(_)), "its address is direct: {toward:?}");
}

#[tokio::test]
async fn routes_go_through_it_but_for_this_machine() {
    let (address, asked) = proxy("127.0.0.1:9".parse().expect("an address"), "HTTP/1.1 403 No\r\n\r\n").await;
    let of = |upstream: &str| RouteUpstream { ..route(upstream) };
    let settings = Settings { routes: vec![of("https://tool.example")], ..settings(address, false, &[]) };
    let egress = Egress::new(settings.clone(), system_lookup()).expect("settings");
    let toward = Toward::Route("tool".to_owned());
    let sent = || call(Payload::Http(request(Method::GET, "/x", &[], "")), None);
    let failed = egress.open(sent(), Live::default(), &toward, &[], &Meter::default()).await.err().expect("refused");
    assert!(failed.to_string().contains("403"), "{failed}");
    assert!(asked.lock().expect("no panic").starts_with("CONNECT tool.example:443 "));
    let here = upstream(|mut stream: TcpStream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
    })
    .await;
    let settings = Settings { routes: vec![of(&format!("http://{here}"))], ..settings };
    let egress = Egress::new(settings, system_lookup()).expect("settings");
    assert!(egress.open(sent(), Live::default(), &toward, &[], &Meter::default()).await.is_ok());
}

#[test]
fn a_proxy_is_read_and_its_password_never_shown() {
    let read = |text: &str| text.parse::<UpstreamProxy>().map_err(|error| error.to_string());
    let secret = ["hush", "hush"].concat();
    let proxy = read(&format!("http://user:{secret}@Proxy.Corp:3128")).expect("a proxy");
    assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.corp", 3128));
    assert!(!format!("{proxy:?}").contains(&secret));
    assert!(!format!("{proxy:?}").contains("dXNlc"));
    for (bad, word) in [
        ("proxy.corp:3128", "http://"),
        ("https://proxy.corp:3128", "http://"),
        ("http://proxy.corp", "port"),
        ("http://:3128", "host"),
        ("http://user@proxy.corp:3128", "user:password"),
        ("http://proxy.corp:3128/path", "host"),
    ] {
        let error = read(bad).expect_err(bad);
        assert!(error.contains(word), "{bad}: {error}");
    }
    assert!("10.0.0.0/33".parse::<Direct>().is_err() && "a b".parse::<Direct>().is_err());
}

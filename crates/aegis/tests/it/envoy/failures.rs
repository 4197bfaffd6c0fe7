//! What Envoy does when Aegis doesn't answer: never what was not decided. And calls that aren't plain HTTP/1.1.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::Code;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Envoy, GRPC, REDACTED, SCALE, SCALER, Setup, free_port};
use crate::process::{Gateway, eventually};

/// Sends scales in a row until told to stop: the statuses, and which of them were sent after the kill.
fn traffic(setup: &Setup, killed: &AtomicBool, stop: &AtomicBool) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    while !stop.load(Ordering::SeqCst) {
        let late = killed.load(Ordering::SeqCst);
        let status = setup.scale(SCALE, 5).status;
        if late {
            after.insert(status)
        } else {
            before.insert(status)
        };
    }
    (before, after)
}

#[test]
fn a_gateway_that_is_killed_under_traffic_lets_nothing_through_that_is_not_on_record() {
    let setup = Setup::start(SCALER, |config| config);
    let (killed, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (before, after) = std::thread::scope(|scope| {
        let traffic = scope.spawn(|| traffic(&setup, &killed, &stop));
        eventually("calls pass", || setup.tool.seen().len() > 20);
        setup.gateway.signal("-KILL");
        // The signal is on its way; what is sent from now on meets nobody once it has ended.
        eventually("it is gone", || std::net::TcpStream::connect(setup.gateway.address("ext_authz")).is_err());
        killed.store(true, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(3);
        eventually("time passes", || Instant::now() > until);
        stop.store(true, Ordering::SeqCst);
        traffic.join().expect("it ends")
    });
    assert!(before.contains(&200) && before.is_subset(&[200, 403].into()), "{before:?}");
    assert_eq!(after, [403].into(), "not one passes unasked");
    // What reached the tool was allowed first, and that is on record.
    let allowed =
        setup.gateway.folder.decisions("scaler").iter().filter(|record| record["decision"] == "allow").count();
    assert!(setup.tool.seen().len() <= allowed, "{} reached it, {allowed} were allowed", setup.tool.seen().len());
}

#[test]
fn a_gateway_that_hangs_or_was_never_there_lets_nothing_through() {
    let setup = Setup::start(SCALER, |config| config);
    assert_eq!(setup.scale(SCALE, 5).status, 200);
    setup.gateway.signal("-STOP");
    let since = Instant::now();
    let answer = setup.scale(SCALE, 5);
    setup.gateway.signal("-CONT");
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    eventually("it answers again", || setup.scale(SCALE, 5).status == 200);

    let nobody = Gateway::start("", &[("scaler.yaml", SCALER)]);
    let config = GRPC.replace("port_value: 4182", &format!("port_value: {}", free_port()));
    let config = config.replace("port_value: 8001", &format!("port_value: {}", setup.tool.address.port()));
    let reached = setup.tool.seen().len();
    let setup = Setup { envoy: Envoy::start_alone(&nobody, &config), gateway: nobody, ..setup };
    assert_eq!(setup.scale(SCALE, 5).status, 403);
    assert_eq!(setup.tool.seen().len(), reached);
}

/// A real gRPC tool: health, over plain HTTP/2. Ends with its runtime.
async fn health_server() -> u16 {
    let (_, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(health.clone());
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[test]
fn grpc_calls_pass_and_are_refused_like_any_other() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let port = runtime.block_on(health_server());
    let policy = REDACTED.replace("    sanitize: {detect: [pii]}\n", "");
    let http2 = "      typed_extension_protocol_options:\n        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n          \
                 \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n          \
                 explicit_http_config: {http2_protocol_options: {}}\n";
    let setup = Setup::start(&policy, |config| {
        let cluster = "    - name: kubernetes\n      type: STATIC\n";
        let config = config.replace(cluster, &format!("{cluster}{http2}"));
        let config = config
            .replace("aegis.tool: kubernetes", "other.tool: x")
            .replace("aegis.cluster: main", "other.cluster: x");
        config.replace("port_value: 8001", &format!("port_value: {port}"))
    });
    let call = |origin: &'static str, token: &str| {
        let origin: http::Uri = origin.parse().expect("an origin");
        let channel = Channel::from_shared(setup.url("")).expect("an address").origin(origin.clone());
        let value: MetadataValue<_> = format!("Bearer {token}").parse().expect("a value");
        runtime.block_on(async {
            let channel = channel.connect().await.expect("connected");
            let mut client = HealthClient::with_origin(channel, origin);
            let mut request = tonic::Request::new(HealthCheckRequest::default());
            request.metadata_mut().insert("authorization", value);
            client.check(request).await
        })
    };
    let answer = call("http://tool.example", &setup.token).expect("it passes");
    assert_eq!(answer.get_ref().status, 1);
    assert_eq!(answer.metadata().get("aegis-decision").map(|value| value.as_bytes()), Some(&b"allow"[..]));
    for (origin, token, code) in [
        ("http://evil.example", setup.token.as_str(), Code::PermissionDenied),
        ("http://tool.example", "nonsense", Code::Unauthenticated),
    ] {
        let status = call(origin, token).expect_err("refused");
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.metadata().get("aegis-decision-id").is_some(), "{status:?}");
    }
}

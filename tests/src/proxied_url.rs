//! URLs that lead through a proxy to a service.

use tokio_rustls::TlsAcceptor;

use crate::ChaosProxy;

/// A proxy to the service at `url`, and the URL that leads through it.
pub(crate) async fn through_proxy(url: &str, default_port: &str) -> (ChaosProxy, String) {
    let (start, end, address) = address_in(url, default_port);
    let proxy = ChaosProxy::to(&address).await;
    let through = format!("{}127.0.0.1:{}{}", &url[..start], proxy.port(), &url[end..]);
    (proxy, through)
}

/// The same behind TLS.
pub(crate) async fn through_tls(
    url: &str,
    default_port: &str,
    tls: TlsAcceptor,
) -> (ChaosProxy, String) {
    let (start, end, address) = address_in(url, default_port);
    let proxy = ChaosProxy::behind_tls(&address, tls).await;
    let (scheme, login) = url[..start].split_once(':').expect("a URL");
    let through = format!("{scheme}s:{login}127.0.0.1:{}{}", proxy.port(), &url[end..]);
    (proxy, through)
}

/// Where the host and the port are in a URL, and what they are.
fn address_in(url: &str, default_port: &str) -> (usize, usize, String) {
    let start = url.rfind('@').or_else(|| url.find("//").map(|at| at + 1)).expect("a URL") + 1;
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    let address = match &url[start..end] {
        complete if complete.contains(':') => complete.to_owned(),
        host => format!("{host}:{default_port}"),
    };
    (start, end, address)
}

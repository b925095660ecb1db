//! When the certificates that the settings name end, for an alert before they do.

use std::{fs, path::Path, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;
use x509_parser::pem::Pem;

use crate::{config::Settings, metrics::Metrics, shutdown::Shutdown};

/// How often the files are read: they are replaced while the worker runs.
const INTERVAL: Duration = Duration::from_secs(60);

/// A file of certificates, and the setting that names it.
struct File {
    service: &'static str,
    setting: &'static str,
    path: PathBuf,
    /// Why it couldn't be read the last time.
    trouble: Option<String>,
}

impl File {
    /// Notes when its first certificate ends; logs once why that isn't known.
    fn note(&mut self, metrics: &Metrics) {
        let Self { service, setting, path, trouble } = self;
        let reason = match earliest_end(path) {
            Ok(at) => {
                metrics.set_certificate_expiry(service, setting, at);
                None
            }
            Err(reason) => Some(reason),
        };
        if let Some(reason) = &reason
            && *trouble != Some(reason.clone())
        {
            warn!(service, setting, path = %path.display(), reason, "when the certificate ends is not known");
        }
        *trouble = reason;
    }
}

/// Notes in `metrics` when the certificates end, until the worker stops; nothing if the settings name none.
pub fn watch(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> Option<JoinHandle<()>> {
    let Settings { queue, store, tracing, .. } = settings;
    let named = [
        ("broker", "ca_file", &queue.ca_file),
        ("broker", "certificate_file", &queue.certificate_file),
        ("store", "ca_file", &store.ca_file),
        ("store", "certificate_file", &store.certificate_file),
        ("collector", "ca_file", &tracing.ca_file),
        ("collector", "certificate_file", &tracing.certificate_file),
    ];
    let mut files: Vec<File> = named
        .into_iter()
        .filter_map(|(service, setting, path)| {
            Some(File { service, setting, path: path.clone()?, trouble: None })
        })
        .collect();
    if files.is_empty() {
        return None;
    }
    let (metrics, shutdown) = (Arc::clone(metrics), shutdown.clone());
    Some(tokio::spawn(async move {
        let mut turns = interval(INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                () = shutdown.aborted() => return,
            }
            for file in &mut files {
                file.note(&metrics);
            }
        }
    }))
}

/// When the first of the certificates in a PEM file ends, as a Unix time.
fn earliest_end(path: &Path) -> Result<i64, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let mut ends = Vec::new();
    for pem in Pem::iter_from_buffer(&text) {
        let pem = pem.map_err(|error| error.to_string())?;
        if pem.label == "CERTIFICATE" {
            let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
            ends.push(certificate.validity().not_after.timestamp());
        }
    }
    ends.into_iter().min().ok_or_else(|| "it holds no certificate".into())
}

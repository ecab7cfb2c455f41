//! What every controller needs of Kubernetes: watches into stores, one runner for all kinds, writes that skip what is
//! already so, backoff and events. It knows no kind of Weir and no Kafka.

pub(crate) mod apply;
pub(crate) mod backoff;
pub(crate) mod events;
pub(crate) mod runner;
pub(crate) mod watch;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::core::Status;

/// No request to the API server may take longer; kube's client has no read timeout of its own.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a conversation with the API server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubernetesError {
    /// The server refused or could not be reached.
    #[error("failed to {action}")]
    Request {
        /// What was tried, such as `apply the Deployment`.
        action: &'static str,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time; the request may have been carried out.
    #[error("failed to {action} within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// What was tried.
        action: &'static str,
    },
}

impl KubernetesError {
    /// A bounded word for metrics.
    pub(crate) fn category(&self) -> &'static str {
        match (self, self.answer()) {
            (Self::Timeout { .. }, _) => "timeout",
            (Self::Request { .. }, None) => "transport",
            (Self::Request { .. }, Some(status)) if status.is_conflict() => "conflict",
            (Self::Request { .. }, Some(status)) if status.is_forbidden() => "forbidden",
            (Self::Request { .. }, Some(status)) if status.is_invalid() => "invalid",
            (Self::Request { .. }, Some(_)) => "api",
        }
    }

    /// The server's own words, if it answered.
    pub(crate) fn server_message(&self) -> Option<String> {
        self.answer().map(|status| status.message.clone())
    }

    /// Whether the server says that the object itself is not acceptable: trying again cannot help.
    pub(crate) fn is_invalid(&self) -> bool {
        self.answer().is_some_and(|status| status.is_invalid() || status.code == 400)
    }

    /// Whether the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.answer().is_some_and(Status::is_not_found)
    }

    fn answer(&self) -> Option<&Status> {
        let Self::Request { source, .. } = self else { return None };
        if let kube::Error::Api(status) = source.as_ref() { Some(status) } else { None }
    }
}

/// Bounds a request in time and says what it was for.
pub(crate) async fn request<T>(
    action: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, KubernetesError> {
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(result) => result.map_err(|source| KubernetesError::Request { action, source: Box::new(source) }),
        Err(_) => Err(KubernetesError::Timeout { action }),
    }
}

/// The time for conditions; the one place where a status reads the clock.
pub(crate) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

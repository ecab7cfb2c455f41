//! What every controller needs of Kubernetes: watches into stores, one runner for all kinds, writes that skip what is
//! already so, backoff and events. It knows no kind of Weir and no Kafka.

pub(crate) mod apply;
pub(crate) mod backoff;
pub(crate) mod events;
pub(crate) mod runner;
pub(crate) mod watch;

use std::time::Duration;

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
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if status.is_conflict() => "conflict",
                kube::Error::Api(status) if status.is_forbidden() => "forbidden",
                kube::Error::Api(status) if status.is_invalid() => "invalid",
                kube::Error::Api(_) => "api",
                _ => "transport",
            },
            Self::Timeout { .. } => "timeout",
        }
    }

    /// The server's own words, if it answered.
    pub(crate) fn server_message(&self) -> Option<String> {
        match self {
            Self::Request { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.message.clone()),
                _ => None,
            },
            Self::Timeout { .. } => None,
        }
    }

    /// Whether the server says that the object itself is not acceptable: trying again cannot help.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Request { source, .. } => {
                matches!(source.as_ref(), kube::Error::Api(status) if status.is_invalid())
            }
            Self::Timeout { .. } => false,
        }
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

//! Leadership: which of several operators may act, by a Lease of `coordination.k8s.io/v1`.
//!
//! What it promises, and how: nobody's clock is compared with anybody else's. A candidate takes a lease only after it
//! saw the lease unchanged for the holder's whole duration on its own monotonic clock, and only if the write's
//! precondition (`resourceVersion`) holds. A holder considers itself leader only until a monotonic deadline, counted
//! from *before* it sent its last successful renewal and earlier than anybody may take over.
//! What it does not: fence. A write that was sent just before the deadline may arrive after it, which is why the
//! deadline leaves a fifth of the duration.
//!
//! The composition root starts one [`Leadership`] per process, waits for [`Leadership::acquired`], and ends the process
//! with a failure when [`Leadership::lost`] is cancelled.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::observability::metrics::Metrics;

/// Field manager of the lease.
const LEASE_FIELD_MANAGER: &str = "weir-lease";

/// Which lease, on whose behalf, and how long a silent holder keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseSettings {
    /// Namespace of the lease: the operator's own.
    pub(crate) namespace: String,
    /// Name of the lease.
    pub(crate) name: String,
    /// Who we are: the pod's name.
    pub(crate) identity: String,
    /// After this long without a renewal others may take over; 15 s suits most clusters.
    /// Published in whole seconds, rounded up.
    pub(crate) duration: Duration,
}

impl LeaseSettings {
    /// Time between renewals: short, so that the API server may be away for most of the time that we lead, as it is while
    /// it restarts.
    fn renew(&self) -> Duration {
        self.duration / 7
    }

    /// Time between looks of a candidate, and after a renewal that failed.
    fn retry(&self) -> Duration {
        self.duration / 8
    }

    /// Bound of one round of calls to the API server.
    fn timeout(&self) -> Duration {
        self.duration / 5
    }

    /// How long after sending a renewal we still lead: a fifth less than others wait.
    fn lead(&self) -> Duration {
        self.duration / 5 * 4
    }
}

/// Why leadership ended without being given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeadershipError {
    /// Another process holds the lease.
    #[error("failed to keep the lease: {0} took it")]
    Taken(String),
    /// The lease could not be renewed before our deadline.
    #[error("failed to renew the lease for {} s; another operator may lead from now on", .0.as_secs())]
    Expired(Duration),
}

/// Why one round failed; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("failed to ask the API server for the lease: {0}")]
    Api(#[from] kube::Error),
    #[error("failed to get an answer about the lease within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// What the process knows about its leadership. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    /// Until when we lead; `None` while we do not.
    until: watch::Receiver<Option<Instant>>,
    lost: CancellationToken,
}

impl Leadership {
    /// Runs for the lease until `release` is cancelled; then gives it up, so that the next operator need not wait.
    /// Cancel `release` only after everything that leadership protects has stopped. The task ends with an error, and
    /// [`Leadership::lost`] is cancelled, if a lease that was held is held no longer.
    pub(crate) fn spawn(
        client: Client,
        settings: LeaseSettings,
        metrics: Metrics,
        release: CancellationToken,
    ) -> (Self, JoinHandle<Result<(), LeadershipError>>) {
        let (sender, until) = watch::channel(None);
        let lost = CancellationToken::new();
        let elector = Elector {
            leases: Api::namespaced(client, &settings.namespace),
            candidate: Candidate::new(settings.identity.clone()),
            settings,
            epoch: Instant::now(),
            known: None,
            until: sender,
            metrics,
        };
        let token = lost.clone();
        let task = tokio::spawn(async move {
            let ended = elector.run(release).await;
            if let Err(error) = &ended {
                tracing::error!(%error, "Leadership is lost; the operator ends so that it cannot act beside another.");
                token.cancel();
            }
            ended
        });
        (Self { until, lost }, task)
    }

    /// Whether this process leads at this very moment. Ask before every destructive act.
    pub(crate) fn is_leader(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until this process leads; for ever if it never does. May be cancelled at any time.
    pub(crate) async fn acquired(&self) {
        let mut until = self.until.clone();
        if until.wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await.is_err() {
            // The elector ended; nobody will lead here any more.
            std::future::pending::<()>().await;
        }
    }

    /// Cancelled when leadership was held and is lost; never by a release.
    pub(crate) fn lost(&self) -> &CancellationToken {
        &self.lost
    }
}

/// What to do about a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// It does not exist: create it.
    Create,
    /// It is ours: renew it.
    Renew,
    /// It is free or its holder is silent for too long: take it.
    Take,
    /// Its holder is alive, or not silent for long enough: look again later.
    Wait {
        /// Who holds it.
        holder: String,
    },
}

/// Judges leases by what was seen of them over time; knows no clock but the one it is given.
#[derive(Debug)]
struct Candidate {
    identity: String,
    seen: Option<Seen>,
}

/// A state of the lease, and since when we know it.
#[derive(Debug)]
struct Seen {
    holder: String,
    renewed: Option<Timestamp>,
    since: Duration,
}

impl Candidate {
    fn new(identity: String) -> Self {
        Self { identity, seen: None }
    }

    /// Judges the lease as it was read at `now` (monotonic, since our own start). Its timestamps are compared for
    /// equality only: they come from another machine's clock.
    fn judge(&mut self, lease: Option<&Lease>, own_duration: Duration, now: Duration) -> Action {
        let Some(lease) = lease else {
            self.seen = None;
            return Action::Create;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder == self.identity {
            self.seen = None;
            return Action::Renew;
        }
        if holder.is_empty() {
            self.seen = None;
            return Action::Take;
        }
        let renewed = spec.renew_time.map(|time| time.0);
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(own_duration, Duration::from_secs);
        match &self.seen {
            Some(seen) if seen.holder == holder && seen.renewed == renewed => {
                if now.saturating_sub(seen.since) >= duration {
                    return Action::Take;
                }
            }
            Some(_) | None => self.seen = Some(Seen { holder: holder.clone(), renewed, since: now }),
        }
        Action::Wait { holder }
    }
}

/// How a round ended.
#[derive(Debug)]
enum Round {
    /// The lease is ours.
    Held(Box<Lease>),
    /// Somebody else has it.
    Other {
        /// Who.
        holder: String,
    },
    /// The lease changed between reading and writing it. Who has it, the next round will see.
    Raced,
}

/// The task that runs for the lease.
struct Elector {
    leases: Api<Lease>,
    settings: LeaseSettings,
    candidate: Candidate,
    epoch: Instant,
    /// Our lease as of the last successful write; saves reading it before every renewal.
    known: Option<Lease>,
    until: watch::Sender<Option<Instant>>,
    metrics: Metrics,
}

impl Elector {
    async fn run(mut self, release: CancellationToken) -> Result<(), LeadershipError> {
        loop {
            let sent = Instant::now();
            let held = self.until.borrow().to_owned();
            let pause = match self.bounded_round(held).await {
                Ok(Round::Held(lease)) => {
                    self.lead(*lease, sent);
                    self.settings.renew()
                }
                Ok(Round::Other { holder }) => {
                    if held.is_some() {
                        self.step_down();
                        return Err(LeadershipError::Taken(holder));
                    }
                    self.settings.retry()
                }
                Ok(Round::Raced) => self.settings.retry(),
                Err(error) => {
                    tracing::warn!(%error, leads = held.is_some(), "The lease could not be read or written.");
                    self.settings.retry()
                }
            };
            let deadline = self.until.borrow().to_owned();
            tokio::select! {
                biased; // a release wins over everything; the deadline over the next renewal
                () = release.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
                () = passed(deadline) => {
                    self.step_down();
                    return Err(LeadershipError::Expired(self.settings.lead()));
                }
                () = tokio::time::sleep_until(sent + pause) => {}
            }
        }
    }

    /// One round, cut off at its timeout and at our deadline. What was under way is then unknown, so the next round
    /// reads the lease anew.
    async fn bounded_round(&mut self, held: Option<Instant>) -> Result<Round, RoundError> {
        let timeout = self.settings.timeout();
        let known = self.known.take();
        let end = Instant::now() + timeout;
        let end = held.map_or(end, |deadline| end.min(deadline));
        tokio::time::timeout_at(end, self.round(known)).await.unwrap_or(Err(RoundError::Timeout(timeout)))
    }

    async fn round(&mut self, known: Option<Lease>) -> Result<Round, RoundError> {
        if let Some(lease) = known
            && let Some(renewed) = self.write(&lease).await?
        {
            return Ok(Round::Held(Box::new(renewed)));
        }
        let name = self.settings.name.clone();
        let lease = self.leases.get_opt(&name).await?;
        let action = self.candidate.judge(lease.as_ref(), self.settings.duration, self.epoch.elapsed());
        let written = match (action, lease) {
            (Action::Wait { holder }, _) => return Ok(Round::Other { holder }),
            (Action::Renew | Action::Take, Some(lease)) => self.write(&lease).await?,
            (Action::Create | Action::Renew | Action::Take, _) => self.create().await?,
        };
        Ok(written.map_or(Round::Raced, |lease| Round::Held(Box::new(lease))))
    }

    /// Writes us as the holder of exactly the state that `lease` shows; `None` if it changed meanwhile.
    async fn write(&self, lease: &Lease) -> Result<Option<Lease>, RoundError> {
        let next = renewal(lease, &self.settings, Timestamp::now());
        let params = PatchParams::apply(LEASE_FIELD_MANAGER).force();
        unless_conflict(self.leases.patch(&self.settings.name, &params, &Patch::Apply(&next)).await)
    }

    async fn create(&self) -> Result<Option<Lease>, RoundError> {
        let absent = Lease {
            metadata: ObjectMeta {
                name: Some(self.settings.name.clone()),
                namespace: Some(self.settings.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        };
        let first = renewal(&absent, &self.settings, Timestamp::now());
        let params =
            PostParams { field_manager: Some(LEASE_FIELD_MANAGER.to_owned()), ..PostParams::default() };
        unless_conflict(self.leases.create(&params, &first).await)
    }

    fn lead(&mut self, lease: Lease, sent: Instant) {
        self.known = Some(lease);
        if self.until.send_replace(Some(sent + self.settings.lead())).is_none() {
            let identity = &self.settings.identity;
            tracing::info!(identity, lease = self.settings.name, "This operator leads from now on.");
            self.metrics.set_leader(true);
        }
    }

    fn step_down(&self) {
        self.until.send_replace(None);
        self.metrics.set_leader(false);
    }

    /// Gives the lease up, if it is ours.
    async fn release(mut self) {
        self.step_down();
        let Some(lease) = self.known.take() else { return };
        let free = vacancy(&lease, &self.settings);
        let params = PatchParams::apply(LEASE_FIELD_MANAGER).force();
        let patch = Patch::Apply(&free);
        let call = self.leases.patch(&self.settings.name, &params, &patch);
        match tokio::time::timeout(self.settings.timeout(), call).await {
            Ok(Ok(_)) => tracing::info!(lease = self.settings.name, "The lease is released."),
            Ok(Err(error)) => {
                tracing::warn!(%error, "The lease could not be released; it expires by itself.")
            }
            Err(_) => tracing::warn!("The API server did not answer; the lease expires by itself."),
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn unless_conflict(answer: Result<Lease, kube::Error>) -> Result<Option<Lease>, RoundError> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        // 409 both for a stale resourceVersion and for a name that exists already.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The lease with us as its holder, to be written only over the state that `lease` shows.
fn renewal(lease: &Lease, settings: &LeaseSettings, now: Timestamp) -> Lease {
    let old = lease.spec.clone().unwrap_or_default();
    let ours = old.holder_identity.as_deref() == Some(settings.identity.as_str());
    let transitions = old.lease_transitions.unwrap_or(0);
    let seconds = settings.duration.as_millis().div_ceil(1000);
    let first = lease.spec.is_none();
    with_spec(
        lease,
        settings,
        LeaseSpec {
            holder_identity: Some(settings.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: old.acquire_time.filter(|_| ours).or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if ours || first { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        },
    )
}

/// The lease without a holder.
fn vacancy(lease: &Lease, settings: &LeaseSettings) -> Lease {
    let old = lease.spec.clone().unwrap_or_default();
    with_spec(lease, settings, LeaseSpec { holder_identity: Some(String::new()), ..old })
}

/// Only what server-side apply needs: coordinates, the precondition, and the fields that we own.
fn with_spec(lease: &Lease, settings: &LeaseSettings, spec: LeaseSpec) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(settings.name.clone()),
            namespace: Some(settings.namespace.clone()),
            resource_version: lease.metadata.resource_version.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

#[cfg(test)]
mod tests;

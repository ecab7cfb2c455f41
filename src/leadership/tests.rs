//! The judgement in tables, and whole electors against a lease that lives in memory behind an HTTP service.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::*;

const DURATION: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

fn lease(holder: &str, renewed: i64, seconds: Option<i32>) -> Lease {
    let renewed = Timestamp::from_second(renewed).expect("a valid time");
    Lease {
        metadata: ObjectMeta { resource_version: Some("7".into()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: seconds,
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }),
    }
}

fn wait() -> Action {
    Action::Wait { holder: "other".into() }
}

/// Judges a series of looks, each (second of our clock, lease).
fn judged(looks: &[(u64, Option<Lease>)]) -> Vec<Action> {
    let mut candidate = Candidate::new("me".into());
    looks
        .iter()
        .map(|(second, lease)| {
            candidate.judge(lease.as_ref(), Duration::from_secs(15), Duration::from_secs(*second))
        })
        .collect()
}

#[test]
fn a_missing_lease_is_created_a_free_one_taken_and_our_own_renewed() {
    let looks = [(0, None), (1, Some(lease("", 0, None))), (2, Some(lease("me", 0, None)))];
    assert_eq!(judged(&looks), [Action::Create, Action::Take, Action::Renew]);
}

#[test]
fn a_holder_is_given_its_whole_duration_from_our_first_look_on() {
    let other = || Some(lease("other", 1000, Some(15)));
    let looks = [(100, other()), (110, other()), (114, other()), (115, other())];
    assert_eq!(judged(&looks), [wait(), wait(), wait(), Action::Take]);
}

#[test]
fn clocks_of_other_machines_do_not_matter() {
    // The holder's clock is years behind, then years ahead; what counts is that its renewals differ.
    for start in [0, 4_000_000_000] {
        let looks: Vec<_> = (0..20)
            .map(|n: u64| (n * 10, Some(lease("other", start + i64::from(n.is_multiple_of(2)), None))))
            .collect();
        assert!(judged(&looks).iter().all(|action| *action == wait()), "{start}");
    }
    let frozen: Vec<_> =
        [0, 14, 15].map(|second| (second, Some(lease("other", 4_000_000_000, None)))).to_vec();
    assert_eq!(judged(&frozen), [wait(), wait(), Action::Take]);
}

#[test]
fn a_renewal_or_a_new_holder_starts_the_wait_over() {
    let mut third = lease("third", 1000, Some(15));
    let looks = [
        (0, Some(lease("other", 1000, Some(15)))),
        (14, Some(lease("other", 1005, Some(15)))),
        (28, Some(lease("other", 1005, Some(15)))),
        (28, Some(third.clone())),
        (42, Some(third.clone())),
        (43, Some(std::mem::take(&mut third))),
    ];
    let actions = judged(&looks);
    assert_eq!(actions.last(), Some(&Action::Take));
    assert!(actions[..5].iter().all(|action| matches!(action, Action::Wait { .. })), "{actions:?}");
}

#[test]
fn the_duration_that_the_holder_published_counts_and_not_ours() {
    let other = || Some(lease("other", 1000, Some(60)));
    assert_eq!(judged(&[(0, other()), (59, other()), (60, other())]), [wait(), wait(), Action::Take]);
}

#[test]
fn a_takeover_is_counted_and_a_renewal_is_not() {
    let settings = settings("me");
    let now = Timestamp::from_second(2000).expect("a valid time");
    for (holder, transitions) in [("other", 4), ("", 4), ("me", 3)] {
        let next = renewal(&lease(holder, 1000, None), &settings, now);
        let spec = next.spec.expect("a renewal has a spec");
        assert_eq!(spec.lease_transitions, Some(transitions), "{holder}");
        assert_eq!((spec.holder_identity.as_deref(), spec.renew_time), (Some("me"), Some(MicroTime(now))));
        assert_eq!(next.metadata.resource_version.as_deref(), Some("7"), "the precondition");
    }
}

#[test]
fn we_stop_leading_before_anybody_may_take_over() {
    let settings = settings("me");
    assert!(settings.lead() < settings.duration);
    assert!(
        settings.renew() + settings.timeout() + settings.retry() < settings.lead(),
        "one failure is survived"
    );
}

/// The one lease of a cluster, with the API server's rules about versions.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Value>,
    version: u64,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no test panics while it holds the store")
    }

    /// Writes like another client would.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut stored = self.lock();
        let mut lease = stored.lease.clone().expect("the lease exists");
        change(&mut lease);
        stored.put(lease);
    }

    fn holder(&self) -> String {
        let stored = self.lock();
        let holder = stored.lease.as_ref().and_then(|lease| lease["spec"]["holderIdentity"].as_str());
        holder.unwrap_or_default().to_owned()
    }
}

impl Stored {
    fn put(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        lease
    }
}

/// How one client's way to the API server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Requests vanish.
    Cut,
    /// Requests arrive, answers vanish.
    Deaf,
}

#[derive(Clone)]
struct Server {
    store: Store,
    way: watch::Receiver<Way>,
}

impl Server {
    async fn answer(&self, work: impl FnOnce(&mut Stored) -> Response) -> Response {
        if *self.way.borrow() == Way::Cut {
            return std::future::pending().await;
        }
        let response = work(&mut self.store.lock());
        if *self.way.borrow() == Way::Deaf {
            return std::future::pending().await;
        }
        response
    }
}

fn failure(code: StatusCode, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
        "reason": reason, "code": code.as_u16()});
    (code, Json(status)).into_response()
}

async fn read(State(server): State<Server>) -> Response {
    server
        .answer(|stored| match &stored.lease {
            Some(lease) => Json(lease.clone()).into_response(),
            None => failure(StatusCode::NOT_FOUND, "NotFound"),
        })
        .await
}

async fn create(State(server): State<Server>, body: String) -> Response {
    let lease = serde_json::from_str(&body).expect("a lease is JSON");
    server
        .answer(|stored| match stored.lease {
            Some(_) => failure(StatusCode::CONFLICT, "AlreadyExists"),
            None => (StatusCode::CREATED, Json(stored.put(lease))).into_response(),
        })
        .await
}

async fn apply(State(server): State<Server>, body: String) -> Response {
    let lease: Value = serde_json::from_str(&body).expect("a lease is JSON");
    server
        .answer(|stored| {
            let version = stored.version.to_string();
            if lease["metadata"]["resourceVersion"] != version.as_str() {
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            Json(stored.put(lease)).into_response()
        })
        .await
}

fn settings(identity: &str) -> LeaseSettings {
    LeaseSettings {
        namespace: "weir-system".into(),
        name: "weir".into(),
        identity: identity.into(),
        duration: DURATION,
    }
}

/// One operator's elector and the switch of its way to the API server.
struct Operator {
    leadership: Leadership,
    task: JoinHandle<Result<(), LeadershipError>>,
    release: CancellationToken,
    way: watch::Sender<Way>,
}

fn operator(store: &Store, identity: &str) -> Operator {
    let (way, ways) = watch::channel(Way::Open);
    let folder = "/apis/coordination.k8s.io/v1/namespaces/weir-system/leases";
    let router = Router::new()
        .route(folder, post(create))
        .route(&format!("{folder}/weir"), get(read).patch(apply))
        .with_state(Server { store: store.clone(), way: ways });
    let release = CancellationToken::new();
    let client = Client::new(router, "default");
    let (leadership, task) = Leadership::spawn(client, settings(identity), Metrics::new(), release.clone());
    Operator { leadership, task, release, way }
}

impl Operator {
    async fn leads(&self) {
        within(self.leadership.acquired()).await;
    }

    async fn ended(self) -> Result<(), LeadershipError> {
        within(self.task).await.expect("the elector does not panic")
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

#[tokio::test]
async fn a_released_lease_is_taken_over_long_before_it_would_expire() {
    let store = Store::default();
    let first = operator(&store, "first");
    first.leads().await;
    let second = operator(&store, "second");
    let released = Instant::now();
    first.release.cancel();
    assert!(first.ended().await.is_ok());
    second.leads().await;
    assert!(released.elapsed() < DURATION, "{:?}", released.elapsed());
    assert_eq!(store.holder(), "second");
}

#[tokio::test]
async fn only_one_of_many_candidates_leads() {
    let store = Store::default();
    let operators: Vec<Operator> = (0..5).map(|n| operator(&store, &format!("operator-{n}"))).collect();
    let deadline = Instant::now() + DURATION * 2;
    let mut led = false;
    while Instant::now() < deadline {
        let leaders = operators.iter().filter(|operator| operator.leadership.is_leader()).count();
        assert!(leaders <= 1, "{leaders} lead at once");
        led |= leaders == 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(led);
}

#[tokio::test]
async fn an_operator_that_cannot_renew_stops_leading_before_another_begins() {
    let store = Store::default();
    let first = operator(&store, "first");
    first.leads().await;
    let second = operator(&store, "second");
    first.way.send_replace(Way::Cut);
    let lost = first.leadership.lost().clone();
    within(lost.cancelled()).await;
    assert!(!first.leadership.is_leader() && !second.leadership.is_leader());
    assert!(matches!(first.ended().await, Err(LeadershipError::Expired(_))));
    second.leads().await;
}

#[tokio::test]
async fn a_lease_that_somebody_took_is_lost() {
    let store = Store::default();
    let first = operator(&store, "first");
    first.leads().await;
    store.change(|lease| lease["spec"]["holderIdentity"] = "thief".into());
    let Err(LeadershipError::Taken(by)) = first.ended().await else { panic!("the lease is lost") };
    assert_eq!((by.as_str(), store.holder().as_str()), ("thief", "thief"));
}

#[tokio::test]
async fn an_annotation_by_somebody_or_a_lost_answer_costs_no_leadership() {
    let store = Store::default();
    let first = operator(&store, "first");
    first.leads().await;
    store.change(|lease| lease["metadata"]["annotations"] = json!({"note": "seen"}));
    written_again(&store).await;
    first.way.send_replace(Way::Deaf);
    written_again(&store).await;
    first.way.send_replace(Way::Open);
    tokio::time::sleep(DURATION).await;
    assert!(first.leadership.is_leader() && !first.task.is_finished());
}

/// Waits for the next write.
async fn written_again(store: &Store) {
    let before = store.lock().version;
    within(async {
        while store.lock().version == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

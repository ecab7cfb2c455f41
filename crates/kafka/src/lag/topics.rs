//! The partitions of watched topics, as the brokers tell them; refreshed now and then, and at once on doubt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_model::{TopicPartition, UnknownLag};

use crate::{Cluster, KafkaError, TopicDescription};

/// How old knowledge of a topic may be, and how long a failed refresh waits for the next.
const REFRESH_AFTER: Duration = Duration::from_secs(10);
/// How old it may be while refreshes fail; counts of partitions change seldom.
const BELIEVED_FOR: Duration = Duration::from_secs(60);

/// What is known of the watched topics.
#[derive(Default)]
pub(super) struct Topics(BTreeMap<String, Topic>);

struct Topic {
    id: String,
    /// Sorted.
    partitions: Vec<TopicPartition>,
    /// Why the partitions are not known.
    unknown: Option<UnknownLag>,
    /// When the partitions were told.
    read: Instant,
    /// When to ask again; at once if absent.
    due: Option<Instant>,
}

impl Topics {
    /// Asks for the topics that are new, old or doubtful; forgets those that are not in `names`.
    /// Returns the topics that were created anew since the last look.
    pub(super) async fn refresh(
        &mut self,
        cluster: &Cluster,
        names: &BTreeSet<&str>,
        now: Instant,
    ) -> Result<BTreeSet<String>, KafkaError> {
        self.0.retain(|name, _| names.contains(name.as_str()));
        let due: Vec<String> = names
            .iter()
            .filter(|name| self.0.get(**name).is_none_or(|topic| topic.is_due(now)))
            .map(|name| (*name).to_owned())
            .collect();
        let described = match cluster.describe_topics(&due).await {
            Ok(described) => described,
            Err(_) if self.postpone(&due, now) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let mut created_anew = BTreeSet::new();
        for (name, described) in described {
            if self.learn(name.clone(), described, now) {
                created_anew.insert(name);
            }
        }
        Ok(created_anew)
    }

    /// Goes on with what is known of topics that could not be asked for; false if that is too little or too old.
    fn postpone(&mut self, names: &[String], now: Instant) -> bool {
        let believed = |name: &String| {
            self.0
                .get(name)
                .is_some_and(|topic| topic.unknown.is_none() && now.duration_since(topic.read) < BELIEVED_FOR)
        };
        let all = names.iter().all(believed);
        if all {
            for name in names {
                self.0.entry(name.clone()).and_modify(|topic| topic.due = Some(now + REFRESH_AFTER));
            }
        }
        all
    }

    /// Marks a topic as doubtful, so that the next refresh asks for it.
    pub(super) fn doubt(&mut self, name: &str) {
        if let Some(topic) = self.0.get_mut(name) {
            topic.due = None;
        }
    }

    /// For tests of others: topics with their numbers of partitions.
    #[cfg(test)]
    pub(super) fn of(topics: &[(&str, i32)], now: Instant) -> Self {
        let topic = |(name, count): &(&str, i32)| {
            let shared: Arc<str> = (*name).into();
            let partitions = (0..*count).map(|id| TopicPartition::new(shared.clone(), id)).collect();
            ((*name).to_owned(), Topic { id: String::new(), partitions, unknown: None, read: now, due: None })
        };
        Self(topics.iter().map(topic).collect())
    }

    /// The topic's partitions, or why they are not known.
    pub(super) fn partitions(&self, name: &str) -> Result<&[TopicPartition], UnknownLag> {
        match self.0.get(name) {
            Some(Topic { unknown: Some(why), .. }) => Err(why.clone()),
            Some(topic) => Ok(&topic.partitions),
            None => Err(UnknownLag::NotSampled),
        }
    }

    /// Takes in an answer; true if the topic is another one of the same name.
    fn learn(&mut self, name: String, described: Result<TopicDescription, KafkaError>, now: Instant) -> bool {
        let before = self.0.remove(&name);
        let known = before.as_ref().is_some_and(|topic| topic.unknown.is_none());
        let (topic, created_anew) = match described {
            Ok(described) => {
                let shared: Arc<str> = name.as_str().into();
                let partitions =
                    described.partitions.iter().map(|p| TopicPartition::new(shared.clone(), p.id)).collect();
                let anew = before.is_some_and(|topic| !topic.id.is_empty() && topic.id != described.id);
                (
                    Topic {
                        id: described.id,
                        partitions,
                        unknown: None,
                        read: now,
                        due: Some(now + REFRESH_AFTER),
                    },
                    anew,
                )
            }
            // A passing trouble does not change how many partitions there are.
            Err(error) if error.is_transient() && known => match before {
                Some(topic) => (Topic { due: None, ..topic }, false),
                None => return false,
            },
            Err(error) => {
                let id = before.map_or_else(String::new, |topic| topic.id);
                let unknown = Some(unknown(&error, &name));
                (Topic { id, partitions: Vec::new(), unknown, read: now, due: None }, false)
            }
        };
        self.0.insert(name, topic);
        created_anew
    }
}

impl Topic {
    fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| now >= due)
    }
}

/// Why an error leaves a lag unknown.
pub(super) fn unknown(error: &KafkaError, topic: &str) -> UnknownLag {
    if error.is_unknown_topic() {
        UnknownLag::TopicMissing(topic.to_owned())
    } else if error.is_unauthorized() {
        UnknownLag::Unauthorized(error.detail())
    } else {
        UnknownLag::Unreachable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PartitionDescription;

    fn described(id: &str, partitions: i32) -> Result<TopicDescription, KafkaError> {
        let partition = |id| PartitionDescription { id, leader: Some(1), replicas: vec![1], isr: vec![1] };
        Ok(TopicDescription {
            name: "orders".to_owned(),
            id: id.to_owned(),
            internal: false,
            partitions: (0..partitions).map(partition).collect(),
        })
    }

    fn error(code: i32) -> Result<TopicDescription, KafkaError> {
        Err(KafkaError::from_code("describe topics", code, "NAME".to_owned(), "words".to_owned()))
    }

    #[test]
    fn a_topic_created_anew_is_noticed_also_after_it_was_missing() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        assert!(!topics.learn("orders".to_owned(), described("a", 3), now));
        assert!(!topics.learn("orders".to_owned(), error(3), now));
        assert_eq!(topics.partitions("orders"), Err(UnknownLag::TopicMissing("orders".to_owned())));
        assert!(topics.learn("orders".to_owned(), described("b", 2), now));
        assert_eq!(topics.partitions("orders").map(<[_]>::len), Ok(2));
    }

    #[test]
    fn a_passing_trouble_keeps_the_partitions_and_asks_again() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        topics.learn("orders".to_owned(), described("a", 3), now);
        topics.learn("orders".to_owned(), error(5), now);
        assert_eq!(topics.partitions("orders").map(<[_]>::len), Ok(3));
        assert!(topics.0["orders"].is_due(now));
    }

    #[test]
    fn when_nobody_answers_known_topics_are_believed_for_a_while_and_unknown_ones_are_not() {
        let (mut topics, now, orders) = (Topics::default(), Instant::now(), ["orders".to_owned()]);
        assert!(!topics.postpone(&orders, now), "nothing is known yet");
        topics.learn("orders".to_owned(), described("a", 3), now);
        topics.doubt("orders");
        assert!(topics.postpone(&orders, now) && !topics.0["orders"].is_due(now));
        assert!(!topics.postpone(&orders, now + BELIEVED_FOR));
        topics.learn("orders".to_owned(), error(3), now);
        assert!(!topics.postpone(&orders, now), "a missing topic may be there by now");
    }

    #[test]
    fn a_topic_without_the_right_to_see_it_is_unknown_and_not_empty() {
        let (mut topics, now) = (Topics::default(), Instant::now());
        topics.learn("orders".to_owned(), error(29), now);
        assert_eq!(topics.partitions("orders"), Err(UnknownLag::Unauthorized("words".to_owned())));
    }
}

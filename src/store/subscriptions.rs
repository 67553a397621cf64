//! Topics that are subscribed, and where their messages are to be sent.

use rusqlite::params;

use super::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub topic_arn: String,
    /// The part of the endpoint that cannot be guessed.
    pub token: String,
    pub endpoint: String,
    /// `None`: not subscribed yet, or not confirmed.
    pub arn: Option<String>,
}

impl Store {
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT topic_arn, token, endpoint, arn FROM subscriptions ORDER BY topic_arn";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(Subscription {
                    topic_arn: row.get(0)?,
                    token: row.get(1)?,
                    endpoint: row.get(2)?,
                    arn: row.get(3)?,
                })
            })?;
            rows.collect()
        })
        .await
    }

    pub async fn put_subscription(&self, subscription: Subscription) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let Subscription { topic_arn, token, endpoint, arn } = &subscription;
            let sql =
                "INSERT OR REPLACE INTO subscriptions (topic_arn, token, endpoint, arn) VALUES (?, ?, ?, ?)";
            transaction.prepare_cached(sql)?.execute(params![topic_arn, token, endpoint, arn]).map(drop)
        })
        .await
    }

    pub async fn delete_subscription(&self, topic_arn: &str) -> Result<(), StoreError> {
        let topic_arn = topic_arn.to_owned();
        self.write(move |transaction| {
            let sql = "DELETE FROM subscriptions WHERE topic_arn = ?";
            transaction.execute(sql, params![topic_arn]).map(drop)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_subscription_is_kept_changed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut subscription = Subscription {
            topic_arn: "arn:aws:sns:us-east-1:123456789012:news".into(),
            token: "secret".into(),
            endpoint: "http://127.0.0.1:3001/_handlerd/sns/secret".into(),
            arn: None,
        };
        store.put_subscription(subscription.clone()).await.unwrap();
        subscription.arn = Some("arn:aws:sns:us-east-1:123456789012:news:1".into());
        store.put_subscription(subscription.clone()).await.unwrap();
        assert_eq!(store.subscriptions().await.unwrap(), [subscription.clone()]);
        store.delete_subscription(&subscription.topic_arn).await.unwrap();
        assert!(store.subscriptions().await.unwrap().is_empty());
    }
}

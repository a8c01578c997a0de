//! What an operator lets activities have of the outside, by their names: default deny, but for the
//! state store, which is granted whole unless something is said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use wfhost_core::Name;

use crate::allowed_host::AllowedHost;
use crate::trap::Stop;

/// What an activity may have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Where it may send HTTP requests.
    pub allowed_hosts: Vec<AllowedHost>,
    /// The environment that it sees.
    pub environment: BTreeMap<String, String>,
    /// The same, of what nobody else should learn: its values are taken out of what the activity
    /// logs and of the messages of its failures. They win over those of `environment`.
    pub secrets: BTreeMap<String, String>,
    /// What the keys of the state store begin with that it may read; all if nothing is said.
    pub state_read: Option<Vec<String>>,
    /// The same, for those that it may write.
    pub state_write: Option<Vec<String>>,
}

/// Secrets are not shown.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("allowed_hosts", &self.allowed_hosts)
            .field("environment", &self.environment)
            .field("secrets", &self.secrets.keys())
            .field("state_read", &self.state_read)
            .field("state_write", &self.state_write)
            .finish()
    }
}

/// Shorter values are not taken out of texts: they stand in too many of them.
const SECRET_BYTES_MIN: usize = 4;

impl Grant {
    /// What both of them let have; of the variables of one name, that of `other`.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.allowed_hosts.extend(other.allowed_hosts);
        // A variable that is a secret for one is none for the other, or the other way round.
        for name in other.environment.keys() {
            self.secrets.remove(name);
        }
        self.environment.extend(other.environment);
        self.secrets.extend(other.secrets);
        self.state_read = either(self.state_read, other.state_read);
        self.state_write = either(self.state_write, other.state_write);
        self
    }

    /// The environment as the guest sees it.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.environment.clone();
        variables.extend(self.secrets.clone());
        variables.into_iter().collect()
    }

    /// A text without the secrets.
    pub(crate) fn without_secrets(&self, mut text: String) -> String {
        // One may begin as another does.
        let mut secrets: Vec<_> = self.secrets.iter().collect();
        secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        for (name, value) in secrets {
            if value.len() >= SECRET_BYTES_MIN && text.contains(value.as_str()) {
                text = text.replace(value.as_str(), &format!("[secret {name}]"));
            }
        }
        text
    }

    /// Whether it may read all keys that begin so, or just this one.
    pub(crate) fn check_read(&self, key: &str) -> Result<(), Stop> {
        check(self.state_read.as_deref(), "read", key)
    }

    pub(crate) fn check_write(&self, key: &str) -> Result<(), Stop> {
        check(self.state_write.as_deref(), "write", key)
    }
}

fn either(one: Option<Vec<String>>, other: Option<Vec<String>>) -> Option<Vec<String>> {
    match (one, other) {
        (Some(one), Some(other)) => Some([one, other].concat()),
        (one, other) => one.or(other),
    }
}

fn check(granted: Option<&[String]>, what: &str, key: &str) -> Result<(), Stop> {
    let Some(granted) = granted else {
        return Ok(());
    };
    if granted
        .iter()
        .any(|prefix| key.starts_with(prefix.as_str()))
    {
        return Ok(());
    }
    let may = match granted {
        [] => "nothing".to_owned(),
        _ => format!("what begins with `{}`", granted.join("`, `")),
    };
    Err(Stop::Forbidden(format!(
        "it may not {what} `{key}` of the state store: it is granted to {what} {may}"
    )))
}

/// What each activity may have.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// What those have that are not named.
    everybody: Arc<Grant>,
    /// What the others have, that of everybody included.
    by_name: BTreeMap<Name, Arc<Grant>>,
}

impl Grants {
    /// What every activity has, and what some have beside that.
    #[must_use]
    pub fn new(everybody: Grant, by_name: impl IntoIterator<Item = (Name, Grant)>) -> Self {
        let by_name = by_name.into_iter();
        let by_name = by_name.map(|(name, own)| (name, Arc::new(everybody.clone().and(own))));
        Self {
            by_name: by_name.collect(),
            everybody: Arc::new(everybody),
        }
    }

    /// The same, where every activity may send HTTP requests to these hosts as well.
    #[must_use]
    pub fn with_allowed_hosts(self, allowed_hosts: Vec<AllowedHost>) -> Self {
        let more = Grant {
            allowed_hosts,
            ..Grant::default()
        };
        let with_more = |grant: Arc<Grant>| Arc::new(Grant::clone(&grant).and(more.clone()));
        let by_name = self.by_name.into_iter();
        Self {
            by_name: by_name.map(|(name, own)| (name, with_more(own))).collect(),
            everybody: with_more(self.everybody),
        }
    }

    /// The activities that have something of their own.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    pub(crate) fn of(&self, activity: &Name) -> Arc<Grant> {
        let own = self.by_name.get(activity);
        Arc::clone(own.unwrap_or(&self.everybody))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(variable: (&str, &str), state_read: Option<&[&str]>) -> Grant {
        let (name, value) = variable;
        Grant {
            environment: [(name.to_owned(), value.to_owned())].into(),
            state_read: state_read.map(|it| it.iter().map(|it| (*it).to_owned()).collect()),
            ..Grant::default()
        }
    }

    #[test]
    fn an_activity_has_what_everybody_has_and_its_own() {
        let everybody = grant(("A", "all"), Some(&["public/"]));
        let own = grant(("A", "own"), Some(&["orders/"]));
        let grants = Grants::new(everybody, [("Own".parse().unwrap(), own)]);
        let (own, other) = (
            grants.of(&"Own".parse().unwrap()),
            grants.of(&"Other".parse().unwrap()),
        );
        assert_eq!(own.variables(), [("A".into(), "own".into())]);
        assert_eq!(other.variables(), [("A".into(), "all".into())]);
        for (key, own_may, other_may) in [
            ("public/a", true, true),
            ("orders/a", true, false),
            ("x", false, false),
        ] {
            assert_eq!(own.check_read(key).is_ok(), own_may, "{key}");
            assert_eq!(other.check_read(key).is_ok(), other_may, "{key}");
            assert!(own.check_write(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn secrets_are_seen_by_the_guest_and_by_nobody_else() {
        let secret = Grant {
            secrets: [("KEY".to_owned(), "s3cr3t".to_owned())].into(),
            ..grant(("KEY", "plain"), None)
        };
        assert_eq!(secret.variables(), [("KEY".into(), "s3cr3t".into())]);
        assert!(!format!("{secret:?}").contains("s3cr3t"));
        assert_eq!(secret.without_secrets("a s3cr3t".into()), "a [secret KEY]");
        // Where an activity's own variable is no secret, that of everybody does not shadow it.
        let both = secret.and(grant(("KEY", "own"), None));
        assert_eq!(both.variables(), [("KEY".into(), "own".into())]);
    }
}

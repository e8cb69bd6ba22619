//! What a decision about a reply leaves in the account's record beside the rules' own state: whose it is, what is
//! remembered, and what the next login is told.

use verifier::{Decision, Factor, Now, Verdict};

use super::{Open, is_charged};
use crate::notice::{By, LastFailure, Notice, What, pending};
use crate::store::Record;

impl Open {
    /// Runs inside the store's transaction. Says until when the login is to be remembered, if it is.
    pub(super) fn leave_traces(&self, record: &mut Record, decision: &Decision, now: &Now) -> Option<String> {
        if let Verdict::Granted(_) = decision.verdict {
            record.uid = self.subject.uid;
            record.last_failure = None;
            // This login is told of them.
            record.notices.clear();
        }
        if is_charged(decision) {
            record.last_failure = Some(LastFailure::new(now.wall, &self.origin));
        }
        let what = match decision.verdict {
            Verdict::Granted(Factor::RecoveryCode { .. }) => Some(What::RecoveryCode),
            _ if decision.disabled_now => Some(What::Disabled),
            _ => None,
        };
        if let Some(what) = what {
            pending::add(&mut record.notices, Notice { at: now.wall, what, by: By::login(&self.origin) });
        }
        self.remember(record, decision.verdict, now)
    }
}

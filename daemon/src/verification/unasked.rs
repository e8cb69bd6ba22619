//! Logins that nobody was asked a code for, as sshd's with a key alone: its account phase asks what the policy says.

use dbus_api::{Error, Step};

use super::opening::Opening;
use crate::answer;
use crate::caller::Caller;
use crate::service::Service;

impl Service {
    /// Judges a login that nobody was asked a code for: it goes on where the policy wants none.
    ///
    /// # Errors
    /// As [`Service::begin_verification`].
    pub async fn judge_unasked(&self, caller: Caller, user: &str, origin: dbus_api::Origin) -> Result<Step, Error> {
        let settings = self.settings();
        let (open, opening) = self.arrive(caller, user, origin, &settings).await?;
        let recalled = opening == Opening::Recall && self.recall(&open).await?;
        let opening = match opening {
            Opening::Enrol | Opening::Ask(_) => Opening::Refuse("unasked", answer::unasked(&settings.config)),
            Opening::Recall if !recalled => Opening::Refuse("unasked", answer::unasked(&settings.config)),
            decided => decided,
        };
        match opening {
            opening if open.ruling.observe => {
                self.record(open.noted(opening.would())).await;
                Ok(answer::skipped(Vec::new()))
            }
            Opening::Refuse(reason, step) => {
                self.record_refusal(&open, reason).await;
                Ok(step)
            }
            Opening::Skip(reason, messages) => {
                self.record(open.noted(reason)).await;
                Ok(answer::skipped(messages))
            }
            Opening::Recall => Ok(answer::skipped(Vec::new())),
            Opening::Enrol | Opening::Ask(_) => Ok(answer::unasked(&settings.config)),
        }
    }
}

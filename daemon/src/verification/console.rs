//! Root at the console: the last way into a host, which nobody at a distance shall be able to close by typing wrong
//! codes. Locks make it wait instead of keeping it out (docs/decisions/0018).

use verifier::policy::is_console;
use verifier::{Account, Decision, Now, Reply, Standing};

use super::Open;
use crate::config::throttling::RootConsole;
use crate::service::Settings;

/// The one service that counts: login(1), which root runs on the host's own terminals.
const SERVICE: &str = "login";

impl Open {
    /// Whether the account's replies are looked at.
    pub(super) fn standing(&self, account: &Account, now: &Now, settings: &Settings) -> Standing {
        if self.is_spared(settings) { account.standing_at_console() } else { account.standing(now) }
    }

    /// Decides about a reply as the rules of this login's place have it.
    pub(super) fn weigh(&self, account: &mut Account, reply: &Reply, now: &Now, settings: &Settings) -> Decision {
        if self.is_spared(settings) {
            return account.decide_at_console(reply, now, &settings.rules);
        }
        account.decide(reply, now, &settings.rules)
    }

    /// Whether this is root at the console. What a caller other than root says of its terminal proves nothing.
    fn is_spared(&self, settings: &Settings) -> bool {
        let origin = &self.origin;
        settings.config.throttling.root_console.0 == RootConsole::NeverLock
            && self.caller.is_root()
            && self.subject.uid == Some(0)
            && origin.service == SERVICE
            && is_console(&origin.service, &origin.tty, &origin.rhost)
    }
}

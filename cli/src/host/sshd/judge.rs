//! What sshd's settings mean for a second factor: every way in must go through PAM's questions, and must be able to.

use super::{
    config::{Config, FILE},
    probe::{Effective, Probe},
};
use crate::host::{
    Place,
    finding::{Area, Finding, Level},
};

/// How long sshd waits for a login, in seconds: less is short for somebody who is enrolled while logging in.
const GRACE: u64 = 120;
const KEYBOARD: &str = "keyboard-interactive";

/// What is known of the host beside sshd's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Whether sshd's PAM stack holds a first factor.
    pub(crate) first_factor: bool,
    /// Whether this account has a second factor; `None` where that cannot be known.
    pub(crate) enrolled: &'a dyn Enrolled,
}

/// Who has a second factor.
pub(crate) trait Enrolled: std::fmt::Debug {
    /// Whether this account has.
    fn has(&self, account: &str) -> bool;
}

/// Judges what is in force for one connection, where sshd's PAM stack asks for a code.
pub(crate) fn judge(config: &Config, probe: &Probe, effective: &Effective, context: Context<'_>) -> Vec<Finding> {
    let view = View { config, probe, effective, context };
    if !effective.on("usepam") {
        let finding = view.danger("sshd-no-pam", "UsePAM is off", "usepam", "UsePAM yes");
        return vec![finding.because("sshd then runs no PAM stack: nobody is asked for a code")];
    }
    let mut findings = view.alternatives();
    findings.extend(view.passwords());
    findings.extend(view.root());
    findings.extend(view.names_and_times());
    findings
}

struct View<'a> {
    config: &'a Config,
    probe: &'a Probe,
    effective: &'a Effective,
    context: Context<'a>,
}

impl View<'_> {
    fn alternatives(&self) -> Vec<Finding> {
        let methods = self.effective.value("authenticationmethods");
        if !matches!(methods, "" | "any") {
            return methods.split_whitespace().flat_map(|alternative| self.alternative(alternative)).collect();
        }
        let mut findings = self.any_method();
        if !self.effective.on("kbdinteractiveauthentication") {
            let finding = self.danger(
                "sshd-no-keyboard-interactive",
                "KbdInteractiveAuthentication is off",
                "kbdinteractiveauthentication",
                "KbdInteractiveAuthentication yes",
            );
            findings.push(finding.because("that is the method that asks for a code: whoever needs one cannot log in"));
        }
        findings
    }

    /// Without `AuthenticationMethods` each method lets in by itself.
    fn any_method(&self) -> Vec<Finding> {
        let open = [
            ("pubkeyauthentication", "a key"),
            ("gssapiauthentication", "a Kerberos ticket"),
            ("hostbasedauthentication", "another host's word"),
        ];
        let open: Vec<&str> = open.iter().filter(|(key, _)| self.effective.on(key)).map(|(_, what)| *what).collect();
        let mut findings = Vec::new();
        if !open.is_empty() {
            let what = format!("{} alone lets in", open.join(" or "));
            let why = "without AuthenticationMethods sshd asks PAM no questions after it";
            findings.push(self.graded("sshd-key-alone", &what, "authenticationmethods", self.methods()).because(why));
        } else if !self.context.first_factor {
            findings.push(self.code_alone());
        }
        findings
    }

    fn alternative(&self, alternative: &str) -> Option<Finding> {
        let methods: Vec<&str> =
            alternative.split(',').map(|method| method.split(':').next().unwrap_or(method)).collect();
        // sshd passes over an alternative with a method that is off; where none is left, it does not start.
        if let Some(off) = methods.iter().find(|method| !self.enabled(method)) {
            let what = format!("the alternative {alternative} cannot be used: {off} is off");
            let finding = self.finding(Level::Warning, "sshd-dead-alternative", &what, "authenticationmethods");
            return Some(finding.because("nobody can log in by it").change(format!("switch {off} on, or take it out")));
        }
        if methods.contains(&"password") {
            let what = format!("the alternative {alternative} wants sshd's own password question");
            let finding = self.danger("sshd-password-method", &what, "authenticationmethods", self.methods());
            let why = "it asks once and answers the question for the code with the password: refused";
            return Some(finding.because(why));
        }
        if !methods.contains(&KEYBOARD) {
            let what = format!("the alternative {alternative} lets in without a code");
            let finding = self.graded("sshd-key-alone", &what, "authenticationmethods", self.methods());
            return Some(finding.because("sshd asks PAM's questions in keyboard-interactive alone"));
        }
        (methods.len() == 1 && !self.context.first_factor).then(|| self.code_alone())
    }

    /// Whether a method is switched on; one that is not known here counts as such.
    fn enabled(&self, method: &str) -> bool {
        let keyword = match method {
            "publickey" => "pubkeyauthentication",
            "password" => "passwordauthentication",
            KEYBOARD => "kbdinteractiveauthentication",
            "gssapi-with-mic" => "gssapiauthentication",
            "hostbased" => "hostbasedauthentication",
            _ => return true,
        };
        self.effective.on(keyword)
    }

    fn code_alone(&self) -> Finding {
        let what = "the code is the only factor";
        let why = "neither sshd nor its PAM stack asks for anything before it";
        self.danger("sshd-code-alone", what, "authenticationmethods", self.methods()).because(why)
    }

    fn passwords(&self) -> Option<Finding> {
        if !self.effective.on("passwordauthentication") {
            return None;
        }
        let methods = self.effective.value("authenticationmethods");
        // Where methods are named and this is none of them, sshd does not offer it.
        if !matches!(methods, "" | "any") && !methods.contains("password") {
            return None;
        }
        let what = "PasswordAuthentication is on";
        let why = "sshd asks once there and answers every question with the password: who has a code is refused, and \
                   asked again";
        let finding = self.finding(Level::Warning, "sshd-password", what, "passwordauthentication");
        Some(finding.because(why).change("PasswordAuthentication no"))
    }

    fn root(&self) -> Option<Finding> {
        let permits = self.effective.value("permitrootlogin");
        let keys_alone = matches!(permits, "without-password" | "prohibit-password" | "forced-commands-only");
        if self.probe.user != "root" || !keys_alone {
            return None;
        }
        // Nobody chose OpenSSH's default. Where somebody did, or root has a second factor, root is meant to log in.
        let chosen = self.config.line("permitrootlogin", self.probe.under, permits).is_some();
        if !chosen && !self.context.enrolled.has("root") {
            return None;
        }
        let what = format!("PermitRootLogin {permits} refuses root's code");
        let why = "sshd replaces what root types by a filler unless passwords are permitted: root cannot log in by \
                   key and code";
        let finding = self.finding(Level::Warning, "sshd-root-code", &what, "permitrootlogin").because(why);
        Some(finding.change("PermitRootLogin no, or yes with AuthenticationMethods publickey,keyboard-interactive"))
    }

    fn names_and_times(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.effective.on("usedns") {
            let finding = self.finding(Level::Warning, "sshd-dns-names", "UseDNS is on", "usedns");
            let why = "PAM is then given names from reverse DNS in place of addresses: no rule by network matches";
            findings.push(finding.because(why).change("UseDNS no"));
        }
        let grace = self.effective.value("logingracetime").parse().unwrap_or(GRACE);
        if grace > 0 && grace < GRACE {
            let what = format!("LoginGraceTime is {grace} s");
            let finding = self.finding(Level::Warning, "sshd-short-grace", &what, "logingracetime");
            let why = "the password, the code and, where it is switched on, enrolment at login must fit in it";
            findings.push(finding.because(why).change(format!("LoginGraceTime {GRACE}")));
        }
        if self.effective.on("permitemptypasswords") {
            let finding = self.finding(
                Level::Danger,
                "sshd-empty-passwords",
                "PermitEmptyPasswords is on",
                "permitemptypasswords",
            );
            let why = "an account without a password has no first factor";
            findings.push(finding.because(why).change("PermitEmptyPasswords no"));
        }
        findings
    }

    /// The methods that fit sshd's PAM stack.
    fn methods(&self) -> &'static str {
        if self.context.first_factor {
            "AuthenticationMethods keyboard-interactive"
        } else {
            "AuthenticationMethods publickey,keyboard-interactive"
        }
    }

    /// Dangerous for everybody, or for somebody who has a second factor; a `Match` for somebody who has none may be
    /// meant as an exemption.
    fn graded(&self, name: &'static str, what: &str, keyword: &str, change: &str) -> Finding {
        let exempted = self.probe.under.is_some() && !self.context.enrolled.has(&self.probe.user);
        let level = if exempted { Level::Warning } else { Level::Danger };
        self.finding(level, name, what, keyword).change(change)
    }

    fn danger(&self, name: &'static str, what: &str, keyword: &str, change: &str) -> Finding {
        self.finding(Level::Danger, name, what, keyword).change(change)
    }

    fn finding(&self, level: Level, name: &'static str, what: &str, keyword: &str) -> Finding {
        let set = self.config.line(keyword, self.probe.under, self.effective.value(keyword));
        let block = self.probe.under.and_then(|number| self.config.matches.get(number));
        // What stands outside of every `Match` is told once, whomever sshd was asked about.
        let own = set.is_some_and(|setting| setting.under.is_some());
        let whom = block.filter(|_| own).map(|block| {
            let criteria: Vec<_> = block.criteria.iter().map(|(key, value)| format!("{key} {value}")).collect();
            format!(" (Match {})", criteria.join(" ").trim())
        });
        let place = set.map_or_else(|| Place::whole(FILE), |setting| setting.place.clone());
        Finding::new(Area::Sshd, level, name, format!("{what}{}", whom.unwrap_or_default())).at(&place)
    }
}

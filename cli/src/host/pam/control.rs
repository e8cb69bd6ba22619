//! The second column of a PAM line: what becomes of each code that a module may return (pam.conf(5), Linux-PAM).

/// A code that a module returns (`_pam_types.h` of Linux-PAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Code(pub(crate) u8);

/// How the codes are called in brackets, by number.
const NAMES: [&str; 32] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
];

impl Code {
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const SERVICE_ERR: Self = Self(3);
    pub(crate) const SYSTEM_ERR: Self = Self(4);
    pub(crate) const PERM_DENIED: Self = Self(6);
    pub(crate) const AUTH_ERR: Self = Self(7);
    pub(crate) const CRED_INSUFFICIENT: Self = Self(8);
    pub(crate) const AUTHINFO_UNAVAIL: Self = Self(9);
    pub(crate) const USER_UNKNOWN: Self = Self(10);
    pub(crate) const MAXTRIES: Self = Self(11);
    pub(crate) const NEW_AUTHTOK_REQD: Self = Self(12);
    pub(crate) const CONV_ERR: Self = Self(19);
    pub(crate) const IGNORE: Self = Self(25);
    pub(crate) const ABORT: Self = Self(26);
    pub(crate) const MODULE_UNKNOWN: Self = Self(28);

    /// How it is called in a PAM file.
    pub(crate) fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or("unknown")
    }
}

/// What becomes of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// Nothing.
    Ignore,
    /// It counts for the person.
    Ok,
    /// It counts for the person, and the stack ends.
    Done,
    /// It counts against the person.
    Bad,
    /// It counts against the person, and the stack ends.
    Die,
    /// All that was counted in this stack is forgotten.
    Reset,
    /// So many of the following modules do not run; at least 1.
    Jump(u32),
}

/// A control: an action for each code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control([Action; 32]);

impl Control {
    /// What becomes of this code.
    pub(crate) fn action(&self, code: Code) -> Action {
        self.0.get(usize::from(code.0)).copied().unwrap_or(Action::Bad)
    }

    /// Everything counts against the person.
    pub(crate) fn all_bad() -> Self {
        Self([Action::Bad; 32])
    }

    /// Reads a keyword, or what stands in brackets. What libpam does not understand it takes for "everything is bad".
    pub(crate) fn parse(text: &str) -> Self {
        let keyword = |succeeds, otherwise| {
            let mut actions = [otherwise; 32];
            set(&mut actions, Code::SUCCESS, succeeds);
            set(&mut actions, Code::NEW_AUTHTOK_REQD, succeeds);
            set(&mut actions, Code::IGNORE, Action::Ignore);
            Self(actions)
        };
        match text.to_ascii_lowercase().as_str() {
            "required" => keyword(Action::Ok, Action::Bad),
            "requisite" => keyword(Action::Ok, Action::Die),
            "optional" => keyword(Action::Ok, Action::Ignore),
            "sufficient" => keyword(Action::Done, Action::Ignore),
            _ => pairs(text).unwrap_or_else(Self::all_bad),
        }
    }
}

fn set(actions: &mut [Action; 32], code: Code, action: Action) {
    if let Some(place) = actions.get_mut(usize::from(code.0)) {
        *place = action;
    }
}

/// `code=action` pairs. `default` stands for the codes that were not named before it; those that are named nowhere
/// are bad.
fn pairs(text: &str) -> Option<Control> {
    let mut actions: [Option<Action>; 32] = [None; 32];
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (code, after) = code(rest)?;
        let after = after.trim_start().strip_prefix('=')?.trim_start();
        let (action, after) = action(after)?;
        match code {
            None => actions.iter_mut().filter(|known| known.is_none()).for_each(|known| *known = Some(action)),
            Some(code) => *actions.get_mut(code)? = Some(action),
        }
        rest = after.trim_start();
    }
    Some(Control(actions.map(|action| action.unwrap_or(Action::Bad))))
}

/// The code that `text` begins with, `None` for `default`, and what follows it.
fn code(text: &str) -> Option<(Option<usize>, &str)> {
    let named = NAMES.iter().enumerate().find_map(|(number, name)| Some((Some(number), text.strip_prefix(name)?)));
    named.or_else(|| Some((None, text.strip_prefix("default")?)))
}

fn action(text: &str) -> Option<(Action, &str)> {
    let words = [
        ("ignore", Action::Ignore),
        ("ok", Action::Ok),
        ("done", Action::Done),
        ("bad", Action::Bad),
        ("die", Action::Die),
        ("reset", Action::Reset),
    ];
    if let Some(found) = words.iter().find_map(|(word, action)| Some((*action, text.strip_prefix(word)?))) {
        return Some(found);
    }
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    // A jump over nothing is none: libpam does not take it.
    let over = number.parse().ok().filter(|over| *over > 0)?;
    Some((Action::Jump(over), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_the_pairs_that_the_manual_gives_for_them() {
        for (keyword, pairs) in [
            ("required", "success=ok new_authtok_reqd=ok ignore=ignore default=bad"),
            ("requisite", "success=ok new_authtok_reqd=ok ignore=ignore default=die"),
            ("sufficient", "success=done new_authtok_reqd=done default=ignore"),
            ("Optional", "success=ok new_authtok_reqd=ok default=ignore"),
        ] {
            assert_eq!(Control::parse(keyword), Control::parse(pairs), "{keyword}");
        }
    }

    #[test]
    fn what_is_not_understood_is_bad_altogether() {
        for text in
            ["", "requird", "success=ok nonsense=ok", "success", "success=maybe", "success=0", "success=99999999999"]
        {
            assert_eq!(Control::parse(text), Control::all_bad(), "{text}");
        }
        assert_eq!(Control::parse("success=2 default=ignore").action(Code::SUCCESS), Action::Jump(2));
        assert_eq!(Control::parse("default=die success=ok").action(Code::AUTH_ERR), Action::Die);
        assert_eq!(Control::parse("success=ok").action(Code::AUTH_ERR), Action::Bad);
    }
}

//! Whom sshd is asked about: root and an ordinary account from anywhere, and for every `Match` somebody to whom it
//! applies. The answers are sshd's own (`sshd -T -C`).

use std::collections::HashMap;

use super::config::{Config, Match, matches};
use crate::host::{Host, accounts::People};

/// Where OpenSSH's server is.
pub(crate) const PROGRAM: &str = "/usr/sbin/sshd";
/// An address and a name that belong to nobody (RFC 5737, RFC 2606).
const ELSEWHERE: (&str, &str) = ("192.0.2.1", "client.invalid");

/// A connection that sshd is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    /// Who logs in.
    pub(crate) user: String,
    addr: String,
    host: String,
    laddr: String,
    lport: String,
    /// The number of the `Match` that it was made for.
    pub(crate) under: Option<usize>,
}

/// What sshd says is in force for a connection: keywords in lower case, and the rest of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effective(HashMap<String, String>);

impl Effective {
    /// The value of a keyword; empty where sshd does not name it.
    pub(crate) fn value(&self, keyword: &str) -> &str {
        self.0.get(keyword).map_or("", String::as_str)
    }

    /// Whether it is switched on.
    pub(crate) fn on(&self, keyword: &str) -> bool {
        self.value(keyword) == "yes"
    }

    fn parse(text: &str) -> Self {
        let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()));
        Self(text.lines().filter_map(pair).collect())
    }
}

/// Everybody to ask about.
pub(crate) fn probes(config: &Config, people: &People, ordinary: &str) -> Vec<Probe> {
    let anywhere = |user: &str| Probe {
        user: user.to_owned(),
        addr: ELSEWHERE.0.to_owned(),
        host: ELSEWHERE.1.to_owned(),
        laddr: ELSEWHERE.0.to_owned(),
        lport: "22".to_owned(),
        under: None,
    };
    let mut probes = vec![anywhere(ordinary), anywhere("root")];
    for (number, block) in config.matches.iter().enumerate() {
        for class in [ordinary, "root"] {
            if let Some(probe) = applied(block, Probe { under: Some(number), ..anywhere(class) }, people) {
                probes.push(probe);
            }
        }
    }
    probes
}

/// Asks sshd.
///
/// # Errors
/// What it says where it cannot tell.
pub(crate) fn ask(host: &Host, probe: &Probe) -> Result<Effective, String> {
    let Probe { user, addr, host: name, laddr, lport, .. } = probe;
    let connection = format!("user={user},host={name},addr={addr},laddr={laddr},lport={lport}");
    let ran = host.run(PROGRAM, &["-T", "-C", &connection]).map_err(|error| error.to_string())?;
    if ran.done { Ok(Effective::parse(&ran.out)) } else { Err(ran.err.trim().to_owned()) }
}

/// A connection to which the `Match` applies, as near to `probe` as can be; `None` where none could be made, or where
/// it is about others than this account.
fn applied(block: &Match, mut probe: Probe, people: &People) -> Option<Probe> {
    for (keyword, patterns) in &block.criteria {
        match keyword.as_str() {
            "all" => {}
            "user" => probe.user = user(patterns, &probe.user, people)?,
            "group" => probe.user = member(patterns, &probe.user, people)?,
            "host" => probe.host = literal(patterns)?,
            "address" => probe.addr = address(patterns)?,
            "localaddress" => probe.laddr = address(patterns)?,
            "localport" => probe.lport = patterns.split(',').next()?.to_owned(),
            // sshd knows more, such as the routing domain, that cannot be given to it from outside.
            _ => return None,
        }
    }
    // sshd takes its questions apart at commas.
    let whole = [&probe.user, &probe.addr, &probe.host, &probe.laddr, &probe.lport];
    whole.iter().all(|word| !word.contains([',', '=']) && !word.contains(char::is_whitespace)).then_some(probe)
}

/// An account that a pattern list names: `wished` where it does, else one of the host's, else the pattern itself.
fn user(patterns: &str, wished: &str, people: &People) -> Option<String> {
    let named = |name: &str| listed(patterns, name);
    if named(wished) {
        return Some(wished.to_owned());
    }
    let known = people.names().find(|name| named(name)).map(str::to_owned);
    known.or_else(|| literal(patterns)).filter(|name| named(name))
}

/// An account of a group that a pattern list names.
fn member(patterns: &str, wished: &str, people: &People) -> Option<String> {
    let belongs = |name: &str| people.groups_of(name).iter().any(|group| listed(patterns, group));
    if belongs(wished) {
        return Some(wished.to_owned());
    }
    people.names().find(|name| belongs(name)).map(str::to_owned)
}

/// Whether a pattern list names this: some pattern matches and none with `!` does.
fn listed(patterns: &str, name: &str) -> bool {
    let negated = patterns.split(',').filter_map(|pattern| pattern.strip_prefix('!'));
    let mut plain = patterns.split(',').filter(|pattern| !pattern.starts_with('!'));
    !negated.into_iter().any(|pattern| matches(pattern, name)) && plain.any(|pattern| matches(pattern, name))
}

/// The first pattern with its wildcards filled.
fn literal(patterns: &str) -> Option<String> {
    let first = patterns.split(',').find(|pattern| !pattern.starts_with('!'))?;
    Some(first.replace(['*', '?'], "x"))
}

/// An address that the first pattern names: its network's own, or its wildcards filled with 1.
fn address(patterns: &str) -> Option<String> {
    let first = patterns.split(',').find(|pattern| !pattern.starts_with('!'))?;
    match first.split_once('/') {
        Some((network, _)) => Some(network.to_owned()),
        None if first == "*" => Some(ELSEWHERE.0.to_owned()),
        None => Some(first.replace(['*', '?'], "1")),
    }
}

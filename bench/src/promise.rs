//! What was promised about speed, compared with what one run measured.

use serde::Serialize;

use crate::{
    contestant::Contestant::{self, Countersign, GoogleAuthenticator, Oath},
    load::Figures,
    population::Codes::{self, Right, Wrong},
    report::Report,
    sweep::Cell,
};

/// The size at which the contestants are compared.
const COMPARED: u32 = 10_000;

/// One promise and whether it is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Promise {
    /// What was promised.
    pub what: String,
    /// What was measured.
    pub measured: String,
    /// Whether that keeps it; `None` where the run did not measure it.
    pub kept: Option<bool>,
}

/// All promises.
#[must_use]
pub fn all(report: &Report) -> Vec<Promise> {
    let mut promises = Vec::new();
    for workers in [1, 2, 8, 32] {
        let pair = (cell(report, Right, workers, Countersign), cell(report, Right, workers, GoogleAuthenticator));
        promises.push(below(
            &format!("right codes, {workers} at once: p50 below pam_google_authenticator's"),
            pair,
            |f| f.p50,
        ));
        promises.push(below(
            &format!("right codes, {workers} at once: p99 below pam_google_authenticator's"),
            pair,
            |f| f.p99,
        ));
    }
    let pair = (cell(report, Right, 32, Countersign), cell(report, Right, 32, GoogleAuthenticator));
    promises.push(times("right codes, 32 at once: logins/s twice pam_google_authenticator's", pair, |f| f.rate, 2.0));
    let pair = (cell(report, Right, 1, Oath), cell(report, Right, 1, Countersign));
    promises.push(times("right codes, 1 at once: p50 a fifth of pam_oath's", pair, |f| f.p50, 5.0));
    promises.push(times("right codes, 1 at once: p99 a fifth of pam_oath's", pair, |f| f.p99, 5.0));
    let pair = (cell(report, Wrong, 1, Countersign), cell(report, Wrong, 1, GoogleAuthenticator));
    promises.push(below("wrong codes, 1 at once: p50 below pam_google_authenticator's", pair, |f| f.p50));
    promises.push(flat(report));
    promises.push(floors(report));
    promises.extend(starts(report));
    promises.push(storm(report));
    promises
}

fn cell(report: &Report, codes: Codes, workers: u32, contestant: Contestant) -> Option<&Figures> {
    report.cell(&Cell { accounts: COMPARED, codes, fresh_process: false, workers, contestant })
}

type Pair<'a> = (Option<&'a Figures>, Option<&'a Figures>);

fn below(what: &str, pair: Pair<'_>, figure: fn(&Figures) -> f64) -> Promise {
    let (Some(ours), Some(theirs)) = pair else { return unmeasured(what) };
    let (ours, theirs) = (figure(ours), figure(theirs));
    Promise {
        what: what.to_owned(),
        measured: format!("{ours:.0} µs against {theirs:.0} µs: {:.2} ×", ours / theirs),
        kept: Some(ours < theirs),
    }
}

/// The first is so many times the second.
fn times(what: &str, pair: Pair<'_>, figure: fn(&Figures) -> f64, factor: f64) -> Promise {
    let (Some(more), Some(less)) = pair else { return unmeasured(what) };
    let (more, less) = (figure(more), figure(less));
    Promise {
        what: what.to_owned(),
        measured: format!("{more:.0} against {less:.0}: {:.2} ×", more / less),
        kept: Some(more >= factor * less),
    }
}

fn flat(report: &Report) -> Promise {
    let what = "flat: p50 at 1,000,000 accounts at most 1.3 × that at 1,000";
    let at = |accounts| {
        report.cell(&Cell { accounts, codes: Right, fresh_process: false, workers: 1, contestant: Countersign })
    };
    let (Some(few), Some(many)) = (at(1_000), at(1_000_000)) else { return unmeasured(what) };
    Promise {
        what: what.to_owned(),
        measured: format!("{:.0} µs against {:.0} µs: {:.2} ×", many.p50, few.p50, many.p50 / few.p50),
        kept: Some(many.p50 <= 1.3 * few.p50),
    }
}

fn floors(report: &Report) -> Promise {
    let what = "right codes, 1 at once: at most 2.5 × the floors (empty module + socket + fsync)";
    let (ours, empty) = (cell(report, Right, 1, Countersign), cell(report, Right, 1, Contestant::Empty));
    let (Some(ours), Some(empty)) = (ours, empty) else { return unmeasured(what) };
    let floor = empty.p50 + report.floors.socket.p50 + report.floors.fsync.p50;
    Promise {
        what: what.to_owned(),
        measured: format!("{:.0} µs against {floor:.0} µs: {:.2} ×", ours.p50, ours.p50 / floor),
        kept: Some(ours.p50 <= 2.5 * floor),
    }
}

fn starts(report: &Report) -> Vec<Promise> {
    let what = ["1,000,000 accounts: ready in under 100 ms", "1,000,000 accounts: under 15 MB resident"];
    let Some(start) = report.starts.iter().find(|start| start.accounts == 1_000_000) else {
        return what.into_iter().map(unmeasured).collect();
    };
    let ready = start.after_stop.max(start.after_kill);
    let [in_time, small] = what.map(str::to_owned);
    vec![
        Promise {
            what: in_time,
            measured: format!("{:.0} ms, {:.0} ms after kill -9", start.after_stop, start.after_kill),
            kept: Some(ready < 100.0),
        },
        Promise {
            what: small,
            measured: format!("{:.1} MB", start.resident as f64 / 1000.0),
            kept: Some(start.resident < 15_000),
        },
    ]
}

fn storm(report: &Report) -> Promise {
    let what = "500 right codes at once: all let in, none slower than 1 s";
    let Some(storm) = &report.storm else { return unmeasured(what) };
    Promise {
        what: what.to_owned(),
        measured: format!(
            "{} of {} let in, p50 {:.0} ms, slowest {:.0} ms; the bus used {:.1} µs a login",
            storm.granted,
            storm.logins,
            storm.p50 / 1000.0,
            storm.max / 1000.0,
            storm.cpu_bus
        ),
        kept: Some(storm.granted == storm.logins && storm.max < 1e6),
    }
}

fn unmeasured(what: &str) -> Promise {
    Promise { what: what.to_owned(), measured: "not measured in this run".to_owned(), kept: None }
}

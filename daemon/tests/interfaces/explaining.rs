//! Explanations and rehearsals: the words, the bounds, and that nothing comes of them.

use dbus_api::{Error, Explanation, LoginOutcome, MAX_RECORDS, Origin, Supposition};

use crate::scene::{OTHER, OWNER, Peer, Scene, steady_step, wrong_code};

const OFFICE: &str = "192.0.2.7";

fn from(service: &str, rhost: &str) -> Origin {
    let item = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Origin { service: item(service), tty: None, rhost: item(rhost), ruser: None }
}

fn scene(rules: &str) -> Scene {
    Scene::new(&format!("fail_delay = \"0s\"\n{rules}"))
}

async fn explain(peer: &Peer, user: &str, origin: &Origin) -> Explanation {
    peer.admin.explain(user, origin, &Supposition::default()).await.unwrap()
}

fn outcome(explanation: &Explanation) -> (LoginOutcome, Option<&str>) {
    (LoginOutcome::from_number(explanation.outcome).unwrap(), explanation.reason.as_deref())
}

#[tokio::test]
async fn each_rule_before_the_one_that_decides_is_told_with_the_condition_that_is_not_met() {
    let rules = "[[rule]]\nname = \"who\"\naccounts = [\"root\", \"bin\"]\n\
                 [[rule]]\nname = \"where to\"\nservices = [\"sudo\"]\n\
                 [[rule]]\nname = \"console\"\nconsole = true\n\
                 [[rule]]\nname = \"office\"\nnetworks = [\"10.20.0.0/16\", \"2001:db8::/32\"]\n\
                 [[rule]]\nname = \"outside\"\ngroups = [\"root\", \"bin\"]\n\
                 [[rule]]\nname = \"inside\"\ngroups = [\"!sys\", \"!daemon\"]\n\
                 [[rule]]\nname = \"night\"\ntimes = [\"00:00-00:01\"]\ndays = [\"mon\"]\n\
                 [[rule]]\nname = \"last\"\ntries = 3\n";
    let scene = scene(rules);
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let supposed = Supposition { at: Some("2027-03-02T14:05".into()), ..Supposition::default() };
    let told = root.admin.explain(OWNER.0, &from("sshd", OFFICE), &supposed).await.unwrap();
    let passed: Vec<_> = told.passed_over.iter().map(|one| (one.condition.as_str(), one.why.as_str())).collect();
    let expected = [
        ("accounts", "daemon is not among root, bin"),
        ("services", "sshd is not among sudo"),
        ("console", "this is no console of the host for certain"),
        ("networks", "192.0.2.7 is in none of 10.20.0.0/16, 2001:db8::/32"),
        ("groups", "daemon is in none of root, bin"),
        ("groups", "daemon is in daemon, which is excluded"),
        ("times", "tue 14:05 is outside of 00:00-00:01 on mon"),
    ];
    assert_eq!(passed, expected);
    let file = scene.config.display().to_string();
    assert_eq!(told.passed_over[1].origin, format!("{file}:6"));
    assert_eq!((told.rule.as_deref(), told.rule_origin.clone()), (Some("last"), Some(format!("{file}:25"))));
    assert_eq!((told.uid, told.tries, told.authenticators), (Some(OWNER.1), Some(3), Some(1)));
    assert_eq!((outcome(&told), told.let_in, told.asked), ((LoginOutcome::Asked, None), true, true));
    assert_eq!(told.shown, ["Verification code: "]);

    let why = async |user: &str, rhost: &str, at: usize| {
        let told = root.admin.explain(user, &from("sshd", rhost), &supposed).await.unwrap();
        told.passed_over[at].why.clone()
    };
    assert_eq!(why(OWNER.0, "", 3).await, "no address is known: PAM_RHOST is empty");
    assert_eq!(why(OWNER.0, "gate.example", 3).await, "\"gate.example\" is no address, and names are never looked up");
    assert_eq!(why("no-such-account", "", 0).await, "the name service does not know \"no-such-account\"");
}

#[tokio::test]
async fn a_locked_disabled_or_refused_login_is_told_with_how_long_and_what_is_seen() {
    let scene = scene("[throttling]\nfailures = 1\n[sources]\naccounts = 2\n");
    let offer = scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    steady_step().await;
    for user in [OWNER.0, OTHER.0] {
        let (id, _) = root.verifier.begin(user, &from("sshd", OFFICE)).await.unwrap();
        root.verifier.respond(id, &wrong_code(&offer)).await.unwrap();
    }
    let told = explain(&root, OWNER.0, &from("sshd", "")).await;
    assert_eq!((outcome(&told), told.let_in), ((LoginOutcome::Refused, Some("locked")), false));
    assert!(told.retry_after.is_some_and(|seconds| (1..=30).contains(&seconds)), "{told:?}");
    assert!(told.shown[0].starts_with("Too many wrong codes: try again in"), "{told:?}");
    let told = explain(&root, "man", &from("sshd", OFFICE)).await;
    assert_eq!(outcome(&told), (LoginOutcome::Refused, Some("source")));
    root.admin.disable(OWNER.0).await.unwrap();
    assert_eq!(outcome(&explain(&root, OWNER.0, &from("sshd", "")).await), (LoginOutcome::Refused, Some("disabled")));
}

#[tokio::test]
async fn an_altered_record_and_somebody_who_enrols_just_now_are_told() {
    let scene = scene("[[rule]]\nname = \"new\"\nunenrolled = \"enroll\"\n");
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    assert_eq!(outcome(&explain(&root, OTHER.0, &from("sshd", "")).await), (LoginOutcome::Enrols, None));
    let (id, _) = root.verifier.begin(OTHER.0, &from("sshd", "")).await.unwrap();
    let told = explain(&root, OTHER.0, &from("sshd", "")).await;
    assert_eq!((outcome(&told), told.asked), ((LoginOutcome::Refused, Some("enrolment-busy")), false));
    root.verifier.cancel(id).await.unwrap();
    drop(root);
    let scene = scene.altered("UPDATE accounts SET failures = failures + 1").await;
    let told = explain(&scene.connect(0).await, OWNER.0, &from("sshd", "")).await;
    assert_eq!((outcome(&told), told.rule.as_deref()), ((LoginOutcome::Refused, Some("corrupt-record")), Some("new")));
}

#[tokio::test]
async fn nothing_is_charged_spent_or_written_down_however_often_it_is_explained() {
    let scene = scene("[throttling]\nfailures = 1\n");
    scene.enrol(OWNER.0).await;
    let root = scene.connect(0).await;
    let audited = scene.audit().await.len();
    let before = format!("{:?}", scene.store.read(OWNER.0).await.unwrap());
    for _ in 0..50 {
        for user in [OWNER.0, OTHER.0, "no-such-account"] {
            explain(&root, user, &from("sshd", OFFICE)).await;
        }
        let users = [OWNER.0, OTHER.0, "no-such-account"];
        root.admin.rehearse(&users, &from("sshd", OFFICE), &Supposition::default()).await.unwrap();
    }
    assert_eq!(scene.audit().await.len(), audited);
    assert_eq!(format!("{:?}", scene.store.read(OWNER.0).await.unwrap()), before);
    let told = explain(&root, "no-such-account", &from("sshd", OFFICE)).await;
    assert_eq!(outcome(&told), (LoginOutcome::Refused, Some("unknown-account")), "and not locked");
}

#[tokio::test]
async fn a_rehearsal_takes_five_hundred_accounts_and_tells_each_by_its_list_or_by_itself() {
    let scene = scene("[[rule]]\nname = \"own\"\ngroups = [\"daemon\"]\naction = \"skip\"\n");
    let root = scene.connect(0).await;
    let users = [OWNER.0, OTHER.0, "no-such-account", "\u{1b}[2J"];
    for each in [None, Some(true)] {
        let supposed = Supposition { each, ..Supposition::default() };
        let told = root.admin.rehearse(&users, &from("sshd", ""), &supposed).await.unwrap();
        let told: Vec<_> = told.iter().map(|one| (one.account.as_str(), one.outcome, one.reason.as_deref())).collect();
        let refused = LoginOutcome::Refused as u32;
        let expected = [
            (OWNER.0, LoginOutcome::Skipped as u32, None),
            (OTHER.0, refused, Some("not-enrolled")),
            ("no-such-account", refused, Some("unknown-account")),
            ("\u{1b}[2J", refused, Some("unknown-account")),
        ];
        assert_eq!(told, expected, "{each:?}");
    }
    let many = vec!["x"; MAX_RECORDS + 1];
    let refused = root.admin.rehearse(&many, &from("sshd", ""), &Supposition::default()).await;
    assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{refused:?}");
    assert_eq!(root.admin.rehearse(&[], &from("sshd", ""), &Supposition::default()).await.unwrap().len(), 0);
}

#[tokio::test]
async fn deadlines_are_judged_at_the_moment_that_is_supposed() {
    let scene = scene("[[rule]]\nname = \"staff\"\nenroll_by = 2999-01-31\n");
    let root = scene.connect(0).await;
    let at = async |at: &str| {
        let supposed = Supposition { at: Some(at.to_owned()), ..Supposition::default() };
        root.admin.explain(OWNER.0, &from("sshd", ""), &supposed).await
    };
    let before = at("2999-01-30T23:59").await.unwrap();
    assert_eq!((outcome(&before).0, before.enroll_by.as_deref()), (LoginOutcome::Reminded, Some("2999-01-31")));
    let after = at("2999-01-31").await.unwrap();
    assert_eq!((outcome(&after), after.enroll_by.as_ref()), ((LoginOutcome::Refused, Some("not-enrolled")), None));
    for wrong in ["", "tomorrow", "2999-02-30", &"9".repeat(2000)] {
        assert!(matches!(at(wrong).await, Err(Error::InvalidArgument(_))), "{wrong}");
    }
}

#[tokio::test]
async fn whoever_may_not_read_is_told_nothing() {
    let scene = scene("");
    let other = scene.connect(OTHER.1).await;
    let (origin, supposed) = (from("sshd", ""), Supposition::default());
    let refused = other.admin.explain(OTHER.0, &origin, &supposed).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
    let refused = other.admin.rehearse(&[OTHER.0], &origin, &supposed).await;
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn a_list_tells_deadlines_and_both_list_and_status_that_the_policy_observes() {
    let rules = "[[rule]]\nname = \"staff\"\naccounts = [\"daemon\"]\nenroll_by = 2999-01-31\n\
                 [[rule]]\nname = \"trial\"\ngroups = [\"bin\"]\nmode = \"observe\"\n";
    let scene = scene(rules);
    let root = scene.connect(0).await;
    for (name, _) in [OWNER, OTHER] {
        scene.enrol(name).await;
    }
    let deadlines = async || {
        let page = root.admin.accounts(&dbus_api::AccountFilter::default(), "").await.unwrap();
        let told: Vec<_> = page.accounts.into_iter().map(|one| (one.name, one.enroll_by)).collect();
        (told, page.observe)
    };
    let all = |day: Option<&str>| {
        let day = day.map(str::to_owned);
        (vec![(OTHER.0.to_owned(), None), (OWNER.0.to_owned(), day)], "some".to_owned())
    };
    assert_eq!(deadlines().await, all(None));
    root.admin.reset(OWNER.0, 0).await.unwrap();
    root.admin.reset(OTHER.0, 0).await.unwrap();
    assert_eq!(deadlines().await, all(Some("2999-01-31")));
    let observe = async |peer: &Peer, user: &str| peer.enrollment.list(user).await.unwrap().observe;
    assert_eq!(observe(&scene.connect(OTHER.1).await, OTHER.0).await.as_deref(), Some("some"));
    assert_eq!(observe(&scene.connect(OWNER.1).await, OWNER.0).await, None);
    let health = root.admin.health().await.unwrap();
    assert_eq!((health.observe, health.observing_rules), (Some(false), Some(vec!["trial".to_owned()])));
    std::fs::write(&scene.config, "mode = \"observe\"\n").unwrap();
    root.admin.reload().await.unwrap();
    assert_eq!(deadlines().await.1, "all");
    assert_eq!(observe(&scene.connect(OWNER.1).await, OWNER.0).await.as_deref(), Some("all"));
}

#[tokio::test]
async fn the_daemon_tells_in_the_logins_of_which_services_somebody_may_enrol() {
    let rule = |name: &str, rest: &str| format!("[[rule]]\nname = \"{name}\"\n{rest}\n");
    let enroll = "unenrolled = \"enroll\"\n";
    let some = rule("ssh", &format!("services = [\"sshd\", \"login\"]\n{enroll}"));
    for (rules, expected) in [
        (rule("strict", ""), vec![]),
        (rule("skipped", &format!("action = \"skip\"\n{enroll}")), vec![]),
        (some.clone(), vec!["login", "sshd"]),
        (some + &rule("all", enroll), vec!["*", "login", "sshd"]),
    ] {
        let scene = scene(&rules);
        let health = scene.connect(0).await.admin.health().await.unwrap();
        assert_eq!(health.enrolling_services.unwrap(), expected, "{rules}");
    }
}

//! Who gets in is told of the wrong codes before: through the real module, as PAM shows it.

use anyhow::Result;
use scenarios::{Host, PAM_AUTH_ERR, PAM_SUCCESS, Stack};

#[test]
fn a_login_is_told_once_of_the_wrong_codes_before_it() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    for _ in 0..2 {
        let refused = host.attempt("door", "alice", &["00000000"])?;
        assert_eq!(refused.result, PAM_AUTH_ERR);
        assert!(!refused.says("since your last login"), "{refused:?}");
    }
    let granted = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(granted.result, PAM_SUCCESS);
    assert!(granted.says("2 wrong codes since your last login, the last at 20"), "{granted:?}");
    let next = host.attempt("door", "alice", &[&host.code(&phone, 1)?])?;
    assert_eq!(next.result, PAM_SUCCESS);
    assert!(!next.says("since your last login"), "{next:?}");
    Ok(())
}

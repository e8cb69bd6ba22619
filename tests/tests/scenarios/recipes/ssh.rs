//! Recipes for ssh.

use anyhow::Result;
use scenarios::{Enrolment, Host};

use super::{INSIDE, OUTSIDE, PASSWORD, Recipe, ssh_from, start};
use crate::words::PROMPT;

/// Logs in with a code, and not with a wrong one.
fn is_asked_from(host: &Host, address: &str, phone: &Enrolment) -> Result<()> {
    let wrong = host.wrong_code(phone)?;
    let refused = ssh_from(host, address, "alice").answer(PROMPT, &wrong).expect(PROMPT).interrupt().end()?;
    assert!(!refused.succeeded() && !refused.says("in as"), "{refused}");
    let code = host.code(phone, 0)?;
    ssh_from(host, address, "alice").answer(PROMPT, &code).expect("in as alice").end()?.success()?;
    Ok(())
}

fn is_not_asked_from(host: &Host, address: &str, user: &str) -> Result<()> {
    let login = ssh_from(host, address, user).expect(&format!("in as {user}")).end()?.success()?;
    assert!(!login.says(PROMPT) && !login.says("assword"), "{login}");
    Ok(())
}

#[test]
fn key_and_code() -> Result<()> {
    let recipe = Recipe::read("Key and code")?;
    let host = start(recipe.host()?)?;
    let phone = host.enrol("alice")?;
    is_asked_from(&host, OUTSIDE, &phone)?;
    // Neither the code without a key nor the password lets in.
    let keyless = ["ssh", "-o", "PubkeyAuthentication=no", "alice@scratch", "echo in as alice"];
    let refused = host.terminal("root", &keyless).end()?;
    assert!(!refused.succeeded() && !refused.says(PROMPT) && !refused.says("in as"), "{refused}");
    recipe.is_sound(&host)
}

#[test]
fn password_and_code() -> Result<()> {
    let recipe = Recipe::read("Password and code")?;
    let host = start(recipe.host()?)?;
    let phone = host.enrol("alice")?;
    let login = |password: &str| ssh_from(&host, OUTSIDE, "alice").answer("Password: ", password);
    let wrong = login("wrong").expect("Password: ").interrupt().end()?;
    assert!(!wrong.says(PROMPT) && !wrong.says("in as"), "{wrong}");
    login(PASSWORD).answer(PROMPT, &host.code(&phone, 0)?).expect("in as alice").end()?.success()?;
    let spent = login(PASSWORD).answer(PROMPT, &host.code(&phone, 0)?).expect("Password: ").interrupt().end()?;
    assert!(!spent.says("in as"), "{spent}");
    recipe.is_sound(&host)
}

#[test]
fn a_code_only_from_outside() -> Result<()> {
    let recipe = Recipe::read("A code only from outside")?;
    let host = start(recipe.host()?)?;
    let phone = host.enrol("alice")?;
    is_not_asked_from(&host, INSIDE, "alice")?;
    is_asked_from(&host, OUTSIDE, &phone)?;
    let skipped = [("account", "alice"), ("rule", "inside"), ("rhost", INSIDE), ("reason", "skipped")];
    host.logged(&skipped)?;
    recipe.is_sound(&host)
}

#[test]
fn a_deploy_account_from_one_network() -> Result<()> {
    let recipe = Recipe::read("A deploy account from one network")?;
    let host = start(recipe.host()?.service_account("deploy"))?;
    let phone = host.enrol("alice")?;
    is_not_asked_from(&host, INSIDE, "deploy")?;
    is_asked_from(&host, INSIDE, &phone)?;
    let refused = ssh_from(&host, OUTSIDE, "deploy").answer(PROMPT, "123456").expect(PROMPT).interrupt().end()?;
    assert!(!refused.says("in as"), "{refused}");
    let shown = host.countersign(&["audit", "--user", "deploy"])?.success()?;
    assert!(shown.says("skipped") && shown.says("deploy"), "{shown}");
    recipe.is_sound(&host)
}

/// What Ansible runs: it becomes root, copies a file, and runs a command.
const ANSIBLE: &str = "export HOME=/root ANSIBLE_NOCOLOR=1 ANSIBLE_LOCAL_TEMP=/tmp/ansible
printf '[all]\\nscratch ansible_user=ansible ansible_python_interpreter=/usr/bin/python3 ' >/tmp/hosts
echo 'ansible_ssh_common_args=\"-o BindAddress=10.20.3.4\"' >>/tmp/hosts
ansible -i /tmp/hosts all -m ping
ansible -i /tmp/hosts all -b -m copy -a 'content=copied dest=/root/by-ansible'
ansible -i /tmp/hosts all -b -m command -a 'id -un'";

/// rsync, scp, sftp and git, by clients that ask nobody.
const CLIENTS: &str = "export HOME=/root RSYNC_RSH='ssh -o BatchMode=yes -b 10.20.3.4'
export GIT_SSH_COMMAND=\"$RSYNC_RSH\"
mkdir -p /root/tree && echo one >/root/tree/one
rsync -a /root/tree ansible@scratch:
scp -B -q -o BindAddress=10.20.3.4 /root/tree/one ansible@scratch:by-scp
echo 'get by-scp /root/by-sftp' | sftp -q -b - -o BindAddress=10.20.3.4 ansible@scratch
ssh -o BatchMode=yes -b 10.20.3.4 ansible@scratch 'git init -q --bare repository'
git init -q /root/work && cd /root/work && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m first
git push -q ansible@scratch:repository HEAD:refs/heads/main
git clone -q -b main ansible@scratch:repository /root/clone
cmp /root/by-sftp /home/ansible/tree/one";

#[test]
fn ansible_rsync_and_git() -> Result<()> {
    let recipe = Recipe::read("Ansible, rsync and git")?;
    let host = start(recipe.host()?.service_account("ansible"))?;
    let phone = host.enrol("alice")?;
    let played = host.run(&["sh", "-ec", ANSIBLE])?.success()?;
    assert!(played.stdout.contains("\"ping\": \"pong\"") && played.stdout.ends_with("root\n"), "{played}");
    assert_eq!(host.read("/root/by-ansible")?, b"copied");
    host.run(&["sh", "-ec", CLIENTS])?.success()?;
    is_asked_from(&host, INSIDE, &phone)?;
    let batch = ["ssh", "-o", "BatchMode=yes", "-b", OUTSIDE, "ansible@scratch", "echo in"];
    assert!(!host.run(&batch)?.succeeded());
    recipe.is_sound(&host)?;

    // A `Match` block that reaches further than the rule: the account line refuses.
    let path = "/etc/ssh/sshd_config.d/10-countersign.conf";
    let wide = String::from_utf8(host.read(path)?)?.replace("Match User ansible Address 10.20.0.0/16", "Match User *");
    host.write(path, &wide)?;
    host.run(&["sh", "-c", "kill -HUP $(cat /run/sshd.pid)"])?.success()?;
    let closed = || {
        let outcome = host.run(&["ssh", "-o", "BatchMode=yes", "-b", OUTSIDE, "alice@scratch", "echo in"])?;
        assert!(!outcome.says("in\n"), "{outcome}");
        Ok(outcome.says("this way to log in does not ask for it").then_some(()))
    };
    scenarios::wait("sshd to read its settings", closed)
}

/// An SFTP client of a program: one password, given to whatever is asked.
const ONE_FIELD: &str = "import paramiko, sys
transport = paramiko.Transport(('127.0.0.1', 22))
transport.connect(username='alice', password=sys.argv[1])
paramiko.SFTPClient.from_transport(transport).put('/etc/hostname', '/home/alice/by-sftp')
transport.close()";

#[test]
fn sftp_with_password_and_code_in_one_prompt() -> Result<()> {
    let recipe = Recipe::read("SFTP with password and code in one prompt")?;
    let host = start(recipe.host()?)?;
    let phone = host.enrol("alice")?;
    let one_field = |typed: &str| host.run(&["python3", "-c", ONE_FIELD, typed]);
    assert!(!one_field(PASSWORD)?.succeeded());
    assert!(!one_field(&format!("wrong{}", host.code(&phone, -1)?))?.succeeded());
    assert!(!host.has("/home/alice/by-sftp"));
    one_field(&format!("{PASSWORD}{}", host.code(&phone, 0)?))?.success()?;
    assert!(host.has("/home/alice/by-sftp"));
    // OpenSSH's own client, and one question.
    let sftp = host.terminal("root", &["sftp", "-q", "alice@scratch"]);
    let both = format!("{PASSWORD}{}", host.code(&phone, 1)?);
    let session = sftp.answer(": ", &both).answer("sftp> ", "ls").expect("by-sftp").answer("sftp> ", "exit").end()?;
    session.success()?;
    recipe.is_sound(&host)?;

    // Where a rule skips, the password is still asked for.
    host.write("/etc/countersign/countersign.toml", "[[rule]]\nname = \"all\"\naction = \"skip\"\n")?;
    host.restart_daemon()?;
    assert!(!one_field("wrong")?.succeeded());
    one_field(PASSWORD)?.success()?;
    Ok(())
}

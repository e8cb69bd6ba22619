//! What an attacker would run: a daemon that lets everybody in, on a bus of its own. It writes down whoever
//! comes near. Scenarios show that the module never does.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the scenario reads what it saw")]

use std::{env, future::pending};

use anyhow::{Context, Result};
use dbus_api::{Action, BUS_NAME, Details, OBJECT_PATH, Origin, Step};
use zbus::{connection, interface};

struct Trap;

#[interface(name = "org.countersign.Countersign1.Verifier")]
impl Trap {
    fn begin(&self, user: &str, _origin: Origin) -> (u64, Step) {
        println!("begin {user}");
        (1, granted())
    }

    fn respond(&self, _id: u64, _reply: &str) -> Step {
        println!("respond");
        granted()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = env::args().nth(1).context("the address of a bus is missing")?;
    let builder = connection::Builder::address(address.as_str()).name(BUS_NAME).serve_at(OBJECT_PATH, Trap);
    let _connection = builder.build().await?;
    println!("waiting");
    pending().await
}

fn granted() -> Step {
    Step { messages: Vec::new(), action: Action::Granted as u32, text: String::new(), details: Details::default() }
}

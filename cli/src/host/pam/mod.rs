//! PAM's stacks: read as libpam reads them, run as libpam runs them, and judged.

pub(crate) mod arguments;
pub(crate) mod control;
#[cfg(test)]
mod differential;
pub(crate) mod judge;
pub(crate) mod line;
pub(crate) mod module;
pub(crate) mod search;
pub(crate) mod simulate;
pub(crate) mod stack;

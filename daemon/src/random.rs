//! Random bytes from the kernel (getrandom(2)), and nothing else.

use zeroize::Zeroizing;

/// The kernel gave no random bytes; whatever needed them must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel gives no random bytes")]
pub struct NoRandomness;

/// `N` random bytes, zeroised when dropped.
///
/// # Errors
/// [`NoRandomness`].
pub fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, NoRandomness> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A random number that is not 0.
///
/// # Errors
/// [`NoRandomness`].
pub fn id() -> Result<u64, NoRandomness> {
    Ok(u64::from_ne_bytes(*bytes::<8>()?).max(1))
}

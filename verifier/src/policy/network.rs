//! Networks: an address and how many of its first bits count, as an administrator types them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR notation (RFC 4632, RFC 4291 section 2.3). IPv4-mapped IPv6 is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Its bits after the prefix are 0.
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor a network.
    #[error("{0:?} is no network: allowed is an address or a network, such as \"10.20.0.0/16\" or \"2001:db8::/32\"")]
    NotANetwork(String),
    /// More bits than the address has, or no number.
    #[error("{text:?} is no network: the number after the slash is 0 to {most}")]
    Prefix {
        /// As it was typed.
        text: String,
        /// The greatest prefix of such an address.
        most: u8,
    },
    /// Bits after the prefix are set.
    #[error("{text:?} names a host in a network: write \"{network}\" for the network, or \"{host}\" for the host")]
    HostBits {
        /// As it was typed.
        text: String,
        /// The network that holds it.
        network: Network,
        /// The address alone.
        host: IpAddr,
    },
}

impl Network {
    /// The network of this address and length; `None` where the address has fewer bits. IPv4-mapped IPv6 is IPv4.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = masked(address.to_canonical(), prefix)?;
        Some(Self { address, prefix })
    }

    /// Its first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits of an address count.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address is in this network; IPv4-mapped IPv6 is IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::around(address, self.prefix).is_some_and(|network| network == *self)
    }

    /// Whether every address of `other` is in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether it holds nothing but addresses that hosts choose for themselves on their own link (RFC 4291, section
    /// 2.5.6; RFC 3927).
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => self.prefix >= 16 && address.is_link_local(),
            IpAddr::V6(address) => self.prefix >= 10 && address.is_unicast_link_local(),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let none = || NetworkError::NotANetwork(text.to_owned());
        let (typed, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let typed: IpAddr = typed.parse().map_err(|_| none())?;
        let (most, mapped) = (bits(typed), typed.is_ipv6() && typed.to_canonical().is_ipv4());
        let wrong = || NetworkError::Prefix { text: text.to_owned(), most };
        let digits =
            |length: &&str| (1..=3).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = match length {
            None => most,
            Some(length) => Some(length).filter(digits).and_then(|length| length.parse().ok()).ok_or_else(wrong)?,
        };
        if length > most {
            return Err(wrong());
        }
        // "::ffff:10.0.0.0/104" is 10.0.0.0/8; a shorter prefix holds more than mapped addresses.
        let (host, prefix) = match mapped.then(|| length.checked_sub(96)) {
            Some(Some(prefix)) => (typed.to_canonical(), prefix),
            _ => (typed, length),
        };
        let network = Self { address: masked(host, prefix).ok_or_else(wrong)?, prefix };
        if network.address == host {
            return Ok(network);
        }
        Err(NetworkError::HostBits { text: text.to_owned(), network, host })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How many bits an address has.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all bits after the prefix cleared; `None` where it has fewer bits than the prefix.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    let spare = u32::from(bits(address).checked_sub(prefix)?);
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(spare).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(spare).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (of, inside, outside) in [
            ("10.20.0.0/16", "10.20.255.255", "10.21.0.0"),
            ("10.20.0.0/16", "::ffff:10.20.0.1", "::10.20.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("fe80::/10", "fe80::1", "fec0::1"),
        ] {
            assert!(network(of).contains(inside.parse().unwrap()), "{inside} in {of}");
            assert!(!network(of).contains(outside.parse().unwrap()), "{outside} in {of}");
        }
    }

    #[test]
    fn a_mistyped_network_is_refused_with_what_was_meant() {
        for (text, expected) in [
            ("10.0.0.0/33", "\"10.0.0.0/33\" is no network: the number after the slash is 0 to 32"),
            ("2001:db8::/129", "\"2001:db8::/129\" is no network: the number after the slash is 0 to 128"),
            ("10.0.0.0/", "\"10.0.0.0/\" is no network: the number after the slash is 0 to 32"),
            ("10.0.0.0/+8", "\"10.0.0.0/+8\" is no network: the number after the slash is 0 to 32"),
            ("10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\" is no network: the number after the slash is 0 to 32"),
            (
                "10.20.3.4/16",
                "\"10.20.3.4/16\" names a host in a network: write \"10.20.0.0/16\" for the network, or \"10.20.3.4\" \
                 for the host",
            ),
            (
                "2001:db8::1/32",
                "\"2001:db8::1/32\" names a host in a network: write \"2001:db8::/32\" for the network, or \
                 \"2001:db8::1\" for the host",
            ),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), expected);
        }
        for text in
            ["", "/8", "10.0.0/8", "host.example", "fe80::1%eth0", "fe80::%eth0/64", " 10.0.0.0/8", "010.0.0.0/8"]
        {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::NotANetwork(text.to_owned())));
        }
    }

    #[test]
    fn networks_of_one_link_are_known_and_those_that_hold_more_are_not() {
        for of_a_link in ["169.254.0.0/16", "169.254.7.0/24", "fe80::/10", "fe80::1"] {
            assert!(network(of_a_link).is_link_local(), "{of_a_link}");
        }
        for other in ["168.0.0.0/7", "169.255.0.0/16", "fe00::/9", "fec0::/10", "10.0.0.0/8"] {
            assert!(!network(other).is_link_local(), "{other}");
        }
    }

    #[test]
    fn a_wider_network_covers_a_narrower_one_of_its_family() {
        assert!(network("10.0.0.0/8").covers(&network("10.20.0.0/16")));
        assert!(network("10.0.0.0/8").covers(&network("10.0.0.0/8")));
        assert!(!network("10.20.0.0/16").covers(&network("10.0.0.0/8")));
        // They begin with the same address.
        assert!(!network("10.0.0.0/16").covers(&network("10.0.0.0/8")));
        assert!(!network("0.0.0.0/0").covers(&network("2001:db8::/32")));
        assert!(!network("::/0").covers(&network("10.0.0.0/8")));
    }
}

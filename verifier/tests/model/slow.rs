//! Conditions of rules read slowly: networks as strings of bits, schedules as sets of minutes. The daemon's tests read
//! rules by this too.

use std::net::IpAddr;

/// Minutes of a day.
pub(crate) const DAY: usize = 24 * 60;

/// Whether an address is in a network; IPv4-mapped IPv6 is IPv4.
pub(crate) fn is_inside(network: &str, address: &str) -> bool {
    let (start, length) = network.split_once('/').unwrap();
    let (start, address) = (bits(start), bits(address));
    let length: usize = length.parse().unwrap();
    address.len() == start.len() && address[..length] == start[..length]
}

/// Whether a schedule holds in this minute of the week, by walking through all in which it does. Days are counted from
/// Monday, 0.
pub(crate) fn holds(days: &[usize], times: &[&str], minute: usize) -> bool {
    let days = if days.is_empty() { (0..7).collect() } else { days.to_vec() };
    let times = if times.is_empty() { vec!["00:00-24:00"] } else { times.to_vec() };
    days.iter().flat_map(|day| times.iter().map(move |span| (*day, *span))).any(|(day, span)| {
        let (start, end) = span.split_once('-').unwrap();
        let (mut at, end) = (clock(start), clock(end) % DAY);
        loop {
            if (day * DAY + at) % (7 * DAY) == minute {
                return true;
            }
            at += 1;
            if at % DAY == end {
                return false;
            }
        }
    })
}

fn clock(text: &str) -> usize {
    let (hours, minutes) = text.split_once(':').unwrap();
    hours.parse::<usize>().unwrap() * 60 + minutes.parse::<usize>().unwrap()
}

/// An address as a string of zeros and ones.
fn bits(address: &str) -> String {
    match address.parse::<IpAddr>().unwrap().to_canonical() {
        IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
        IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
    }
}

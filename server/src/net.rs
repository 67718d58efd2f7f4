//! Who is at the other end: networks, and the address that counts behind trusted proxies.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;

/// An address or a network such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: u128,
    mask: u128,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| ())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(());
        }
        let mask = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        Ok(Self { base: number(address) & mask, mask })
    }
}

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        number(address) & self.mask == self.base
    }
}

/// IPv4 and its IPv6 form are the same address.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Hops of `X-Forwarded-For` that are looked at.
const MAX_HOPS: usize = 16;

/// The address that counts: the peer's, or, where the peer is a trusted proxy, the last one in `X-Forwarded-For` that
/// is not a trusted proxy itself. What stands further left is the client's own invention.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer.to_canonical();
    if !is_trusted(address) {
        return address;
    }
    let hops = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
    for hop in hops.flat_map(|line| line.rsplit(',')).take(MAX_HOPS) {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { return address };
        address = hop.to_canonical();
        if !is_trusted(address) {
            return address;
        }
    }
    address
}

/// What a rate is kept for: one IPv4 address, or the /64 that one IPv6 customer has.
pub fn rate_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_the_last_untrusted_hop_counts() {
        let trusted: Vec<Network> = ["10.0.0.0/8", "::1"].iter().map(|t| t.parse().unwrap()).collect();
        let at = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            if !forwarded.is_empty() {
                headers.insert("x-forwarded-for", HeaderValue::from_str(forwarded).unwrap());
            }
            client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(at("192.0.2.1", "203.0.113.9"), "192.0.2.1", "an untrusted peer is not believed");
        assert_eq!(at("10.1.1.1", "203.0.113.9"), "203.0.113.9");
        assert_eq!(at("10.1.1.1", "6.6.6.6, 203.0.113.9, 10.2.2.2"), "203.0.113.9", "forged hops stay left");
        assert_eq!(at("::ffff:10.1.1.1", "203.0.113.9"), "203.0.113.9");
        assert_eq!(at("10.1.1.1", "nonsense"), "10.1.1.1");
        assert_eq!(at("10.1.1.1", ""), "10.1.1.1");
        let endless = vec!["10.0.0.1"; 1_000].join(",");
        assert_eq!(at("10.1.1.1", &format!("203.0.113.9,{endless}")), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_customer_is_one_key_and_networks_are_checked() {
        let key = |text: &str| rate_key(text.parse().unwrap()).to_string();
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(key("::ffff:192.0.2.1"), "192.0.2.1");
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        assert!("10.0.0.0/x".parse::<Network>().is_err());
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}

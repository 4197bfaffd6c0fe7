//! What kind of network an IP address is in. The enforcer asks it of every address that a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The kind of network an address is in (IANA's special-purpose registries, RFC 6890 and its updates).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Globally reachable.
    Public,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918, and unique local `fc00::/7` (RFC 4193).
    Private,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// Carrier-grade NAT, `100.64.0.0/10` (RFC 6598).
    Cgnat,
    /// A cloud's metadata service, which hands out credentials.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// `0.0.0.0/8`, `::`: on Linux it reaches this very host.
    Unspecified,
    /// Documentation and benchmarking ranges.
    Documentation,
    /// Carries an IPv4 address in a form that a relay or the kernel would unpack (6to4, Teredo, NAT64, IPv4-compatible).
    Translated,
    /// Reserved for anything else.
    Reserved,
}

impl AddressClass {
    /// Whether it is reachable by everybody, so that reaching it says nothing about where the gateway stands.
    pub fn is_public(self) -> bool {
        self == Self::Public
    }

    /// The name in messages and records, e.g. `link-local`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Cgnat => "carrier-grade NAT",
            Self::Metadata => "metadata service",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Documentation => "documentation",
            Self::Translated => "translated IPv4",
            Self::Reserved => "reserved",
        }
    }
}

/// The class of an address. An IPv4-mapped address is judged as the IPv4 address that it reaches.
pub fn address_class(address: IpAddr) -> AddressClass {
    match address.to_canonical() {
        IpAddr::V4(v4) => class_v4(v4),
        IpAddr::V6(v6) => class_v6(v6),
    }
}

/// First match wins: metadata addresses lie inside other ranges.
fn class_v4(address: Ipv4Addr) -> AddressClass {
    use AddressClass as C;
    const TABLE: &[([u8; 4], u8, AddressClass)] = &[
        ([169, 254, 169, 254], 32, C::Metadata),
        ([169, 254, 169, 123], 32, C::Metadata),
        ([169, 254, 170, 2], 32, C::Metadata),
        ([169, 254, 170, 23], 32, C::Metadata),
        ([100, 100, 100, 200], 32, C::Metadata),
        ([168, 63, 129, 16], 32, C::Metadata),
        ([192, 0, 0, 192], 32, C::Metadata),
        ([0, 0, 0, 0], 8, C::Unspecified),
        ([10, 0, 0, 0], 8, C::Private),
        ([172, 16, 0, 0], 12, C::Private),
        ([192, 168, 0, 0], 16, C::Private),
        ([100, 64, 0, 0], 10, C::Cgnat),
        ([127, 0, 0, 0], 8, C::Loopback),
        ([169, 254, 0, 0], 16, C::LinkLocal),
        ([192, 0, 0, 0], 24, C::Reserved),
        ([192, 0, 2, 0], 24, C::Documentation),
        ([198, 51, 100, 0], 24, C::Documentation),
        ([203, 0, 113, 0], 24, C::Documentation),
        ([198, 18, 0, 0], 15, C::Documentation),
        ([192, 88, 99, 0], 24, C::Translated),
        ([224, 0, 0, 0], 4, C::Multicast),
        ([255, 255, 255, 255], 32, C::Multicast),
        ([240, 0, 0, 0], 4, C::Reserved),
    ];
    let hit = TABLE.iter().find(|(net, length, _)| Ipv4Net::new_assert((*net).into(), *length).contains(&address));
    hit.map_or(C::Public, |(_, _, class)| *class)
}

/// Only `2000::/3` is global unicast; what isn't in the table and not in there is reserved.
fn class_v6(address: Ipv6Addr) -> AddressClass {
    use AddressClass as C;
    const TABLE: &[([u16; 8], u8, AddressClass)] = &[
        ([0; 8], 128, C::Unspecified),
        ([0, 0, 0, 0, 0, 0, 0, 1], 128, C::Loopback),
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, C::Metadata),
        ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, C::Metadata),
        ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, C::Metadata),
        ([0; 8], 96, C::Translated),
        ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, C::Translated),
        ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, C::Translated),
        ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, C::Translated),
        ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, C::Translated),
        ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, C::Translated),
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, C::Documentation),
        ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, C::Documentation),
        ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, C::Documentation),
        ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, C::Reserved),
        ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, C::Private),
        ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, C::Private),
        ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, C::LinkLocal),
        ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, C::Multicast),
        ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, C::Public),
    ];
    let hit = TABLE.iter().find(|(net, length, _)| Ipv6Net::new_assert((*net).into(), *length).contains(&address));
    hit.map_or(C::Reserved, |(_, _, class)| *class)
}

use vrrp::{Checksum, Envelope, MULTICAST_V4, MULTICAST_V6, Received, Version};

/// What a raw socket receives, after a byte that selects family, destination and hop limit, and whether
/// the checksum is put right. Whatever is believed was written that way: it comes back from the same
/// values.
pub fn vrrp_advert(input: &[u8]) {
    let Some((&settings, message)) = input.split_first() else { return };
    let ipv4 = settings & 1 == 0;
    let source = if ipv4 { [10, 9, 0, 2].into() } else { [0xfe80, 0, 0, 0, 0, 0, 0, 2].into() };
    let destination = match (settings & 2 == 0, ipv4) {
        (true, true) => MULTICAST_V4.into(),
        (true, false) => MULTICAST_V6.into(),
        (false, true) => [10, 9, 0, 1].into(),
        (false, false) => [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
    };
    let hop_limit = if settings & 4 == 0 { 255 } else { 64 };
    let envelope = Envelope { source, destination, hop_limit };
    let mut message = message.to_vec();
    if settings & 8 == 0 {
        // Or hardly any message would get any further.
        put_checksum_right(&mut message, envelope);
    }
    let received = match Received::decode(&message, envelope) {
        Ok(received) => received,
        Err(error) => {
            assert!(error.to_string().contains(error.field()));
            return;
        }
    };
    assert!(hop_limit == 255 || !destination.is_multicast());
    let form = received.checksum.unwrap_or(Checksum::Message);
    let mut again = Vec::new();
    let advert = &received.advert;
    advert
        .encode(source, destination, form, &mut again)
        .unwrap_or_else(|error| panic!("{error}: {advert:?}"));
    assert!(again.len() <= message.len());
    let back = Received::decode(&again, envelope);
    assert_eq!(back.as_ref().map(|it| &it.advert), Ok(advert));
    // Except for what is ignored on reception: reserved bits, and data of no authentication.
    if advert.version == Version::V3 && message[4] >> 4 == 0 {
        let same = |index: usize| again[index] == message[index] || matches!(index, 6 | 7);
        assert!((0..again.len()).all(same), "{again:02x?}, {message:02x?}");
    }
}

/// Of the message up to the last address or the authentication data: RFC 9568 §5.2.8, RFC 3768 §5.3.8.
pub(crate) fn put_checksum_right(message: &mut [u8], envelope: Envelope) {
    let &mut [kind, _, _, count, ..] = message else { return };
    let ipv4 = envelope.source.is_ipv4();
    let addresses = usize::from(count) * if ipv4 { 4 } else { 16 };
    let end = 8 + addresses + if kind >> 4 == 2 { 8 } else { 0 };
    if message.len() < end {
        return;
    }
    message[6..8].fill(0);
    let mut covered = Vec::new();
    if !ipv4 {
        for address in [envelope.source, envelope.destination] {
            let std::net::IpAddr::V6(address) = address else { return };
            covered.extend(address.octets());
        }
        covered.extend([0, 112, (end >> 8) as u8, end as u8]);
    }
    covered.extend(&message[..end]);
    let word = |it: &[u8]| u64::from(it[0]) << 8 | u64::from(it.get(1).copied().unwrap_or(0));
    let mut sum: u64 = covered.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    message[6..8].copy_from_slice(&[high, low]);
}

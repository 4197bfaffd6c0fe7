//! Check digits and number ranges, each by the document that defines it. Every function takes the letters and digits of a number
//! without what separates them, in upper case, and says whether that number can have been issued.

pub(super) fn always(_: &str) -> bool {
    true
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|letter| letter.to_digit(10)).collect()
}

fn number(text: &str, from: usize, to: usize) -> u32 {
    text.get(from..to).and_then(|part| part.parse().ok()).unwrap_or(u32::MAX)
}

fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// A month and a day that there are; the year is left open.
fn date(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn mod97(text: &str) -> Option<u32> {
    text.chars().try_fold(0_u32, |rest, letter| {
        let value = letter.to_digit(36)?;
        Some(if value < 10 { (rest * 10 + value) % 97 } else { (rest * 100 + value) % 97 })
    })
}

/// ISO/IEC 7812-1, annex B.
pub(super) fn luhn(text: &str) -> bool {
    let double = |(place, digit): (usize, u32)| match place % 2 {
        0 => digit,
        _ if digit > 4 => digit * 2 - 9,
        _ => digit * 2,
    };
    let digits = digits(text);
    digits.len() > 1 && digits.into_iter().rev().enumerate().map(double).sum::<u32>().is_multiple_of(10)
}

/// A payment card: Luhn, and an issuer's range with the lengths that it has (ISO/IEC 7812-1; the networks' published ranges).
pub(super) fn card(text: &str) -> bool {
    let (two, three, four, six) = (number(text, 0, 2), number(text, 0, 3), number(text, 0, 4), number(text, 0, 6));
    let length = text.len();
    let network = match (two, three, four) {
        (40..=49, ..) => matches!(length, 13 | 16 | 19),
        (51..=55, ..) | (_, _, 2221..=2720) => length == 16,
        (34 | 37, ..) => length == 15,
        (36 | 38 | 39, ..) | (_, 300..=305 | 309, _) => (14..=19).contains(&length),
        (35, _, 3528..=3589) => (16..=19).contains(&length),
        (65, ..) | (_, 644..=649, _) | (_, _, 6011) => (16..=19).contains(&length),
        (62 | 81, ..) => (16..=19).contains(&length),
        (50 | 56..=69, ..) => (16..=19).contains(&length),
        _ => (2200..=2204).contains(&four) && length == 16 || six == 122_000 && length == 15,
    };
    network && luhn(text) && text.bytes().any(|digit| Some(&digit) != text.as_bytes().first())
}

/// Lengths of the IBANs of a country (ISO 13616, the registry of SWIFT).
#[rustfmt::skip]
const IBANS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22), ("BH", 22),
    ("BI", 27), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22), ("DJ", 27),
    ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FK", 18), ("FO", 18), ("FR", 27),
    ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28), ("HR", 21), ("HU", 28), ("IE", 22),
    ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20), ("LB", 28), ("LC", 32),
    ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("LY", 25), ("MC", 27), ("MD", 24), ("ME", 22), ("MK", 19),
    ("MN", 20), ("MR", 27), ("MT", 31), ("MU", 30), ("NI", 28), ("NL", 18), ("NO", 15), ("OM", 23), ("PK", 24),
    ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("RU", 33), ("SA", 24), ("SC", 31),
    ("SD", 18), ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("SO", 23), ("ST", 25), ("SV", 28), ("TL", 23),
    ("TN", 24), ("TR", 26), ("UA", 29), ("VA", 22), ("VG", 24), ("XK", 20), ("YE", 30),
];

/// ISO 13616: 97 divides the rearranged number with rest 1, and the country has IBANs of that length.
pub(super) fn iban(text: &str) -> bool {
    let (Some(head), Some(tail)) = (text.get(..4), text.get(4..)) else { return false };
    let country = head.get(..2).unwrap_or_default();
    IBANS.iter().any(|(name, length)| *name == country && *length == text.len())
        && mod97(&format!("{tail}{head}")) == Some(1)
}

/// A US social security number that can have been issued (SSA, POMS RM 10201): no part is zeros, the area is below 900, not 666.
pub(super) fn ssn(text: &str) -> bool {
    let (area, group, serial) = (number(text, 0, 3), number(text, 3, 5), number(text, 5, 9));
    text.len() == 9 && (1..900).contains(&area) && area != 666 && group != 0 && serial != 0
}

/// A US individual taxpayer number (IRS, Publication 1915): area 9xx, groups 50–65, 70–88, 90–92, 94–99.
pub(super) fn itin(text: &str) -> bool {
    let group = number(text, 3, 5);
    text.len() == 9 && text.starts_with('9') && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// ABA routing number: 3-7-1 weights, and the first two digits of a Federal Reserve district.
pub(super) fn aba(text: &str) -> bool {
    matches!(number(text, 0, 2), 1..=12 | 21..=32 | 61..=72 | 80)
        && weighted(&digits(text), &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

/// US national provider identifier (45 CFR 162.406): Luhn with 80840 before it.
pub(super) fn npi(text: &str) -> bool {
    text.starts_with(['1', '2']) && luhn(&format!("80840{text}")) && text.get(..9).is_some_and(varied)
}

/// US DEA registration number: the sum of places 1, 3, 5 and twice that of 2, 4, 6 ends in the last digit.
pub(super) fn dea(text: &str) -> bool {
    let Some(number) = text.get(2..) else { return false };
    let digits = digits(number);
    text.starts_with(|letter| "ABCDEFGHJKLMPRSTUX".contains(letter))
        && digits.len() == 7
        && digits.last() == Some(&(weighted(&digits, &[1, 2, 1, 2, 1, 2]) % 10))
}

/// US Medicare beneficiary identifier (CMS, "Understanding the MBI"): which places are letters, and which letters.
pub(super) fn mbi(text: &str) -> bool {
    let letter = |c: u8| c.is_ascii_uppercase() && !b"SLOIBZ".contains(&c);
    let either = |c: u8| c.is_ascii_digit() || letter(c);
    let place = |(at, c): (usize, u8)| match at {
        0 => (b'1'..=b'9').contains(&c),
        1 | 4 | 7 | 8 => letter(c),
        2 | 5 => either(c),
        _ => c.is_ascii_digit(),
    };
    text.len() == 11 && text.bytes().enumerate().all(place)
}

/// UK NHS number (NHS Data Dictionary): modulus 11.
pub(super) fn nhs(text: &str) -> bool {
    let digits = digits(text);
    let check = match 11 - weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11 {
        11 => 0,
        check => check,
    };
    digits.len() == 10 && digits.last() == Some(&check) && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// UK national insurance number (HMRC, NIM39110): prefixes that are never given.
pub(super) fn nino(text: &str) -> bool {
    let (Some(first), Some(second)) = (text.chars().next(), text.chars().nth(1)) else { return false };
    let prefix = text.get(..2).unwrap_or_default();
    !"DFIQUV".contains(first)
        && !"DFIQUVO".contains(second)
        && !["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"].contains(&prefix)
        && text.get(2..8) != Some("000000")
        && text.ends_with(['A', 'B', 'C', 'D'])
}

/// Spanish DNI and NIE (Real Decreto 1553/2005): the rest by 23 is a letter.
pub(super) fn dni(text: &str) -> bool {
    let (Some(head), Some(letter)) = (text.get(..text.len() - 1), text.chars().last()) else { return false };
    let head = head.replacen('X', "0", 1).replacen('Y', "1", 1).replacen('Z', "2", 1);
    let rest = head.parse::<usize>().ok().map(|number| number % 23);
    rest.and_then(|rest| "TRWAGMYFPDXBNJZSQVHLCKE".chars().nth(rest)) == Some(letter)
}

/// Italian codice fiscale (DM 23 December 1976): odd and even places are summed by two tables; 26 divides to the last letter.
pub(super) fn codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let value = |(at, c): (usize, char)| {
        let plain = c.to_digit(36).map(|value| if value < 10 { value } else { value - 10 })?;
        if at % 2 == 0 { ODD.get(plain as usize).copied() } else { Some(plain) }
    };
    let sum: Option<u32> = text.chars().take(15).enumerate().map(value).sum();
    let last = text.chars().last().and_then(|c| c.to_digit(36)).map(|value| value.wrapping_sub(10));
    text.len() == 16 && sum.map(|sum| sum % 26) == last
}

/// Polish PESEL (Ustawa o ewidencji ludności, art. 15): weights 1-3-7-9, a date with the century in its month.
pub(super) fn pesel(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 11
        && date(number(text, 2, 4) % 20, number(text, 4, 6))
        && weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

fn mod11_twice(text: &str, first: &[u32], second: &[u32]) -> bool {
    let digits = digits(text);
    let check = |weights: &[u32]| match weighted(&digits, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    digits.get(first.len()) == Some(&check(first))
        && digits.get(second.len()) == Some(&check(second))
        && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// Brazilian CPF (Receita Federal): two digits by modulus 11.
pub(super) fn cpf(text: &str) -> bool {
    mod11_twice(text, &[10, 9, 8, 7, 6, 5, 4, 3, 2], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
}

/// Brazilian CNPJ (Receita Federal): two digits by modulus 11.
pub(super) fn cnpj(text: &str) -> bool {
    mod11_twice(text, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2], &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
}

/// Indian Aadhaar (UIDAI): the Verhoeff scheme; never starts with 0 or 1.
pub(super) fn aadhaar(text: &str) -> bool {
    const TIMES: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const TURNS: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let turn = |sum: u8, (place, digit): (usize, u32)| {
        let turned = TURNS.get(place % 8)?.get(digit as usize)?;
        TIMES.get(sum as usize)?.get(*turned as usize).copied()
    };
    let sum = digits(text).into_iter().rev().enumerate().try_fold(0_u8, turn);
    !text.starts_with(['0', '1']) && sum == Some(0)
}

/// Australian tax file number (ATO): weights, modulus 11.
pub(super) fn tfn(text: &str) -> bool {
    weighted(&digits(text), &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

/// Australian business number (ABR): one less in the first place, weights, modulus 89.
pub(super) fn abn(text: &str) -> bool {
    let mut digits = digits(text);
    if let Some(first) = digits.first_mut() {
        *first = first.wrapping_sub(1);
    }
    !text.starts_with('0') && weighted(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
}

/// Australian company number (ASIC): weights, modulus 10.
pub(super) fn acn(text: &str) -> bool {
    let digits = digits(text);
    digits.last() == Some(&((10 - weighted(&digits, &[8, 7, 6, 5, 4, 3, 2, 1]) % 10) % 10))
}

/// Australian Medicare card number (Services Australia): starts with 2 to 6; weights 1-3-7-9, modulus 10.
pub(super) fn au_medicare(text: &str) -> bool {
    let digits = digits(text);
    text.starts_with(['2', '3', '4', '5', '6'])
        && digits.get(8) == Some(&(weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10))
}

/// French NIR (INSEE): 97 less the number's rest by 97; Corsica's departments are letters.
pub(super) fn nir(text: &str) -> bool {
    let (Some(head), Ok(key)) = (text.get(..13), text.get(13..).unwrap_or_default().parse::<u64>()) else {
        return false;
    };
    let head = head.replacen("2A", "19", 1).replacen("2B", "18", 1);
    let month = number(&head, 3, 5);
    let rest = head.parse::<u64>().ok().map(|number| 97 - number % 97);
    text.starts_with(['1', '2', '3', '4', '7', '8'])
        && (matches!(month, 1..=12 | 20..=42 | 50..=99))
        && rest == Some(key)
}

/// German tax identification number (§ 139b AO): ISO 7064 mod 11,10. That one digit stands twice isn't asked for: examples don't
/// keep to it, and a word before it says what it is.
pub(super) fn steuer_id(text: &str) -> bool {
    let digits = digits(text);
    let Some((check, head)) = digits.split_last() else { return false };
    let product = head.iter().fold(10, |product, digit| match (digit + product) % 10 {
        0 => 20 % 11,
        sum => sum * 2 % 11,
    });
    !text.starts_with('0') && varied(text) && (11 - product) % 10 == *check
}

/// Swedish personnummer (Skatteverket, SKV 704): Luhn over ten digits; a day, or a day and 60.
pub(super) fn personnummer(text: &str) -> bool {
    let ten = text.get(text.len().saturating_sub(10)..).unwrap_or_default();
    let day = number(ten, 4, 6);
    let century = text.len() == 10 || matches!(number(text, 0, 2), 18..=20);
    century && luhn(ten) && date(number(ten, 2, 4), if day > 60 { day - 60 } else { day })
}

/// Finnish personal identity code (DVV): the rest by 31 is a sign.
pub(super) fn hetu(text: &str) -> bool {
    let number_ = format!("{}{}", text.get(..6).unwrap_or_default(), text.get(7..10).unwrap_or_default());
    let sign =
        number_.parse::<usize>().ok().and_then(|number| "0123456789ABCDEFHJKLMNPRSTUVWXY".chars().nth(number % 31));
    let century = text.chars().nth(6).is_some_and(|sign| "+-ABCDEFUVWXY".contains(sign));
    century && date(number(text, 2, 4), number(text, 0, 2)) && sign == text.chars().last() && sign.is_some()
}

/// The same of one born in the 1900s, whose century's sign is a dash, which is no part of the number here.
pub(super) fn hetu_of_1900s(text: &str) -> bool {
    let (day, rest) = text.split_at_checked(6).unwrap_or_default();
    hetu(&format!("{day}-{rest}"))
}

/// Singapore NRIC and FIN (ICA): weights, an offset by series, a letter by the rest.
pub(super) fn nric(text: &str) -> bool {
    let Some(body) = text.get(1..8) else { return false };
    let sum = weighted(&digits(body), &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters) = match text.chars().next() {
        Some('S') => (0, "JZIHGFEDCBA"),
        Some('T') => (4, "JZIHGFEDCBA"),
        Some('F') => (0, "XWUTRQPNMLK"),
        Some('G') => (4, "XWUTRQPNMLK"),
        Some('M') => (3, "KLJNPQRTUWX"),
        _ => return false,
    };
    letters.chars().nth((sum + offset) as usize % 11) == text.chars().last()
}

/// Dutch BSN: the eleven test, the last digit counted negative.
pub(super) fn bsn(text: &str) -> bool {
    let digits = digits(text);
    let sum = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    digits.len() == 9 && digits.last().is_some_and(|last| sum > *last && (sum - last).is_multiple_of(11))
}

/// Belgian national number: 97 less the rest of the first nine digits, with a 2 before them from the year 2000 on.
pub(super) fn rijksregister(text: &str) -> bool {
    let Some(head) = text.get(..9) else { return false };
    let key = u64::from(number(text, 9, 11));
    let fits = |head: &str| head.parse::<u64>().is_ok_and(|number| 97 - number % 97 == key);
    date(number(text, 2, 4), number(text, 4, 6)) && (fits(head) || fits(&format!("2{head}")))
}

/// Swiss AHV number (BSV): country 756, the check digit of an EAN-13.
pub(super) fn ahv(text: &str) -> bool {
    text.starts_with("756") && weighted(&digits(text), &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// Norwegian fødselsnummer (Skatteetaten): two digits by modulus 11.
pub(super) fn fodselsnummer(text: &str) -> bool {
    let day = number(text, 0, 2);
    date(number(text, 2, 4) % 40, if day > 40 { day - 40 } else { day })
        && weighted(&digits(text), &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(&digits(text), &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// Turkish identity number (NVI): two digits, the second the sum of all before it.
pub(super) fn tckn(text: &str) -> bool {
    let digits = digits(text);
    let every = |from: usize| digits.iter().take(9).skip(from).step_by(2).sum::<u32>();
    let ten: u32 = digits.iter().take(10).sum();
    !text.starts_with('0')
        && digits.get(9) == Some(&((every(0) * 7 + 100 - every(1)) % 10))
        && digits.get(10) == Some(&(ten % 10))
}

/// Thai identity number (DOPA): weights 13 to 2, modulus 11.
pub(super) fn thai(text: &str) -> bool {
    let digits = digits(text);
    let sum = weighted(&digits, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    digits.first().is_some_and(|first| (1..=8).contains(first)) && digits.last() == Some(&((11 - sum % 11) % 10))
}

/// South African identity number (DHA): a date, Luhn.
pub(super) fn south_africa(text: &str) -> bool {
    date(number(text, 2, 4), number(text, 4, 6)) && matches!(number(text, 10, 11), 0..=2) && luhn(text)
}

/// Korean resident registration number: a date, and a digit for century and sex. Since October 2020 there is no check digit.
pub(super) fn rrn(text: &str) -> bool {
    date(number(text, 2, 4), number(text, 4, 6)) && matches!(number(text, 6, 7), 1..=4)
}

/// The same of foreigners.
pub(super) fn frn(text: &str) -> bool {
    date(number(text, 2, 4), number(text, 4, 6)) && matches!(number(text, 6, 7), 5..=8)
}

/// Chinese identity number (GB 11643-1999): a date, ISO 7064 mod 11-2.
pub(super) fn china(text: &str) -> bool {
    let value = |c: char| if c == 'X' { Some(10) } else { c.to_digit(10) };
    let values: Vec<u32> = text.chars().filter_map(value).collect();
    matches!(number(text, 6, 10), 1900..=2099)
        && date(number(text, 10, 12), number(text, 12, 14))
        && weighted(&values, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2, 1]) % 11 == 1
}

/// Canadian social insurance number: Luhn; no number starts with 0 or 8.
pub(super) fn sin(text: &str) -> bool {
    !text.starts_with(['0', '8']) && luhn(text) && text.bytes().any(|digit| Some(&digit) != text.as_bytes().first())
}

/// Chilean RUT: weights 2 to 7 from the right, modulus 11, K for ten.
pub(super) fn rut(text: &str) -> bool {
    let (Some(head), Some(last)) = (text.get(..text.len() - 1), text.chars().last()) else { return false };
    let sum: u32 = digits(head).into_iter().rev().zip([2, 3, 4, 5, 6, 7].into_iter().cycle()).map(|(d, w)| d * w).sum();
    let check = match 11 - sum % 11 {
        11 => '0',
        10 => 'K',
        other => char::from_digit(other, 10).unwrap_or(' '),
    };
    check == last
}

/// Argentine CUIT: weights, modulus 11.
pub(super) fn cuit(text: &str) -> bool {
    let digits = digits(text);
    let check = (11 - weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    matches!(number(text, 0, 2), 20 | 23..=27 | 30 | 33 | 34) && digits.last() == Some(&check)
}

/// Portuguese NIF: weights 9 to 2, modulus 11.
pub(super) fn nif_pt(text: &str) -> bool {
    let digits = digits(text);
    let check = match 11 - weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 {
        10 | 11 => 0,
        check => check,
    };
    digits.last() == Some(&check)
}

/// Digits weighed, and each product's own digits summed.
fn crosswise(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).map(|product| product / 10 + product % 10).sum()
}

/// A letter as the two digits of its place in the alphabet, and the digits of the rest of the text as they are.
fn lettered(text: &str) -> Vec<u32> {
    let place = |letter: char| letter.to_digit(36).filter(|_| letter.is_ascii_uppercase()).map(|value| value - 9);
    let two = |letter: char| match place(letter) {
        Some(place) => vec![place / 10, place % 10],
        None => letter.to_digit(10).into_iter().collect(),
    };
    text.chars().flat_map(two).collect()
}

/// German health insurance number (SGB V § 290): a letter, eight digits, weights 1 and 2.
pub(super) fn krankenversicherung(text: &str) -> bool {
    let digits = lettered(text);
    digits.last() == Some(&(crosswise(&digits, &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]) % 10))
}

/// German pension insurance number (VKVV § 2): area, birthday, a letter, a series, weights.
pub(super) fn rentenversicherung(text: &str) -> bool {
    let digits = lettered(text);
    // Where two are born on one day with one name, 50 or so is added to the day.
    date(number(text, 4, 6), number(text, 2, 4) % 50)
        && digits.last() == Some(&(crosswise(&digits, &[2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1]) % 10))
}

/// German physician's number (KBV): six digits, weights 4 and 9, then what they practise.
pub(super) fn lanr(text: &str) -> bool {
    let digits = digits(text);
    let check = (10 - weighted(&digits, &[4, 9, 4, 9, 4, 9]) % 10) % 10;
    digits.get(6) == Some(&check)
}

/// Indian GSTIN (GST Council): a state, the holder's PAN, how manieth, a `Z`.
pub(super) fn gstin(text: &str) -> bool {
    (1..=38).contains(&number(text, 0, 2)) && text.as_bytes().get(13) == Some(&b'Z') && !text.contains(' ')
}

/// South Korean business registration number (NTS): weights, and the tens of the last product.
pub(super) fn kr_brn(text: &str) -> bool {
    let digits = digits(text);
    let tens = digits.get(8).map_or(0, |digit| digit * 5 / 10);
    let sum = weighted(&digits, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + tens;
    digits.last() == Some(&((10 - sum % 10) % 10))
}

/// Swedish organisation number (Bolagsverket): the third digit tells it from a person's, Luhn.
pub(super) fn organisationsnummer(text: &str) -> bool {
    text.as_bytes().get(2).is_some_and(|digit| *digit >= b'2') && luhn(text)
}

/// Indian PAN (Income Tax Department): the fourth letter says what the holder is.
pub(super) fn pan(text: &str) -> bool {
    text.chars().nth(3).is_some_and(|holder| "ABCFGHJKLPT".contains(holder))
}

/// A number of North America (NANP): area and exchange start with 2 to 9, the area isn't a service code.
pub(super) fn nanp(text: &str) -> bool {
    let ten = text.get(text.len().saturating_sub(10)..).unwrap_or_default();
    let start = |at: usize| ten.as_bytes().get(at).is_some_and(|digit| (b'2'..=b'9').contains(digit));
    (text.len() == 10 || text.starts_with('1')) && start(0) && start(3) && ten.get(1..3) != Some("11")
}

/// Not all digits the same.
pub(super) fn varied(text: &str) -> bool {
    text.bytes().any(|digit| Some(&digit) != text.as_bytes().first())
}

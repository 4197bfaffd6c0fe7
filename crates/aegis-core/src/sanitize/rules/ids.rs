//! Numbers of people, cards, accounts: known by their shape, and by a check digit or by what stands before them.
//!
//! `shapes` are of the number without what separates it: `D` a digit, `L` a letter, `A` either. What only a check digit of one
//! place tells from any other number is looked for where a word before it, or its field, says what it is.

use super::super::checks;
use super::Family;
use Bare::{Always, Grouped, Never};

/// One kind of number.
pub(in crate::sanitize) struct Id {
    pub(in crate::sanitize) family: Family,
    pub(in crate::sanitize) kind: &'static str,
    pub(in crate::sanitize) shapes: &'static [&'static str],
    pub(in crate::sanitize) holds: fn(&str) -> bool,
    pub(in crate::sanitize) bare: Bare,
    /// What stands before it, or is its field's name, in lower case.
    pub(in crate::sanitize) words: &'static [&'static str],
}

/// When a number is known without a word before it.
#[derive(Clone, Copy)]
pub(in crate::sanitize) enum Bare {
    /// By itself.
    Always,
    /// In groups of these lengths.
    Grouped(&'static [u8]),
    /// Never.
    Never,
}

macro_rules! ids {
    ($($family:ident $kind:literal [$($shape:literal),*] $check:ident $bare:expr, [$($word:literal),*];)*) => {
        pub(in crate::sanitize) static IDS: &[Id] = &[$(Id {
            family: Family::$family,
            kind: $kind,
            shapes: &[$($shape),*],
            holds: checks::$check,
            bare: $bare,
            words: &[$($word),*],
        }),*];
    };
}

// More particular before less particular: what two of them fit is called by the first.
ids! {
    Pii "card_number" ["DDDDDDDDDDDDD", "DDDDDDDDDDDDDD", "DDDDDDDDDDDDDDD", "DDDDDDDDDDDDDDDD", "DDDDDDDDDDDDDDDDD",
        "DDDDDDDDDDDDDDDDDD", "DDDDDDDDDDDDDDDDDDD"] card Always, [];
    Pii "iban" ["LLDDAAAAAAAAAAA*"] iban Always, [];
    Pii "us_ssn" ["DDDDDDDDD"] ssn Grouped(&[3, 2, 4]), ["ssn", "social security", "socialsecurity"];
    Pii "us_itin" ["DDDDDDDDD"] itin Grouped(&[3, 2, 4]), ["itin", "taxpayer", "individual tax"];
    Pii "es_dni" ["DDDDDDDDL", "DDDDDDDL"] dni Never, ["dni", "nif", "documento nacional"];
    Pii "es_nie" ["LDDDDDDDL"] dni Always, [];
    Pii "it_fiscal_code" ["LLLLLLAALAALAAAL"] codice_fiscale Always, [];
    Pii "in_pan" ["LLLLLDDDDL"] pan Always, ["pan", "permanent account"];
    Pii "fi_hetu" ["DDDDDDLDDDA"] hetu Always, [];
    Pii "fi_hetu" ["DDDDDDDDDA"] hetu_of_1900s Grouped(&[6, 4]), ["hetu", "henkilötunnus", "henkilotunnus"];
    Pii "sg_nric" ["LDDDDDDDL"] nric Always, [];
    Pii "uk_nino" ["LLDDDDDDL"] nino Always, [];
    Pii "mx_curp" ["LLLLDDDDDDLLLLLLAD"] always Always, [];
    Pii "cn_id" ["DDDDDDDDDDDDDDDDDA"] china Always, [];
    Pii "fr_nir" ["DDDDDDDDDDDDDDD", "DDDDDDLDDDDDDDD"] nir Always, [];
    Pii "ch_ahv" ["DDDDDDDDDDDDD"] ahv Always, [];
    Pii "kr_rrn" ["DDDDDDDDDDDDD"] rrn Grouped(&[6, 7]), ["rrn", "resident registration", "주민등록"];
    Pii "kr_frn" ["DDDDDDDDDDDDD"] frn Grouped(&[6, 7]), ["frn", "foreigner registration", "외국인등록"];
    Pii "th_id" ["DDDDDDDDDDDDD"] thai Grouped(&[1, 4, 5, 2, 1]), ["thai", "national id", "เลขประจำตัว"];
    Pii "za_id" ["DDDDDDDDDDDDD"] south_africa Never, ["south african", "rsa id", "sa id", "id number", "idnumber", "refugee id", "resident number", "za id"];
    Pii "br_cpf" ["DDDDDDDDDDD"] cpf Grouped(&[3, 3, 3, 2]), ["cpf", "cadastro"];
    Pii "br_cnpj" ["DDDDDDDDDDDDDD"] cnpj Grouped(&[2, 3, 3, 4, 2]), ["cnpj"];
    Pii "in_aadhaar" ["DDDDDDDDDDDD"] aadhaar Grouped(&[4, 4, 4]), ["aadhaar", "aadhar", "uidai", "आधार"];
    Pii "be_national_number" ["DDDDDDDDDDD"] rijksregister Grouped(&[2, 2, 2, 3, 2]), ["rijksregister", "registre national", "insz", "niss", "national number"];
    Pii "pl_pesel" ["DDDDDDDDDDD"] pesel Never, ["pesel"];
    Pii "tr_id" ["DDDDDDDDDDD"] tckn Never, ["tckn", "tc kimlik", "kimlik", "turkish id", "t.c."];
    Pii "de_tax_id" ["DDDDDDDDDDD"] steuer_id Never, ["steuer-id", "steuerid", "steueridentifikationsnummer", "idnr", "tax id", "taxid", "steuer"];
    Pii "no_fodselsnummer" ["DDDDDDDDDDD"] fodselsnummer Never, ["fodselsnummer", "personnummer", "national identity"];
    Pii "ar_cuit" ["DDDDDDDDDDD"] cuit Grouped(&[2, 8, 1]), ["cuit", "cuil"];
    Pii "au_abn" ["DDDDDDDDDDD"] abn Grouped(&[2, 3, 3, 3]), ["abn", "australian business"];
    Pii "se_personnummer" ["DDDDDDDDDD", "DDDDDDDDDDDD"] personnummer Grouped(&[8, 4]), ["personnummer", "personnr", "pnr", "swedish id", "samordningsnummer"];
    Pii "nl_bsn" ["DDDDDDDDD"] bsn Never, ["bsn", "burgerservicenummer", "sofinummer"];
    Pii "ca_sin" ["DDDDDDDDD"] sin Never, ["sin", "social insurance"];
    Pii "au_tfn" ["DDDDDDDDD"] tfn Never, ["tfn", "tax file"];
    Pii "au_acn" ["DDDDDDDDD"] acn Never, ["acn", "australian company"];
    Pii "pt_nif" ["DDDDDDDDD"] nif_pt Never, ["nif", "contribuinte"];
    Pii "cl_rut" ["DDDDDDDDA", "DDDDDDDA"] rut Grouped(&[2, 3, 3, 1]), ["rut", "rol unico"];
    Pii "us_routing_number" ["DDDDDDDDD"] aba Never, ["routing", "aba", "rtn"];
    Pii "de_social_security" ["DDDDDDDDLDDD"] rentenversicherung Never, ["sozialversicherungsnummer", "rentenversicherungsnummer", "versicherungsnummer",
        "rvnr", "svnr", "social security"];
    Pii "in_gstin" ["DDLLLLLDDDDLALA"] gstin Always, [];
    Pii "it_vat_number" ["DDDDDDDDDDD"] luhn Never, ["partita iva", "p.iva", "p. iva", "piva", "vat"];
    Pii "kr_business_number" ["DDDDDDDDDD"] kr_brn Grouped(&[3, 2, 5]), ["brn", "business registration", "사업자등록"];
    Pii "se_organisation_number" ["DDDDDDDDDD"] organisationsnummer Never, ["organisationsnummer", "organisationsnr", "orgnr", "org.nr", "org nr", "företag"];
    Phi "de_health_insurance" ["LDDDDDDDDD"] krankenversicherung Never, ["kvnr", "krankenkasse", "krankenversicher", "versichertennummer", "health insurance", "gkv"];
    Phi "de_physician_number" ["DDDDDDDDD"] lanr Never, ["lanr", "arztnummer"];
    Phi "us_mbi" ["DLADLADLLDD"] mbi Always, [];
    Phi "us_npi" ["DDDDDDDDDD"] npi Never, ["npi", "national provider"];
    Phi "us_dea" ["LADDDDDDD"] dea Never, ["dea"];
    Phi "uk_nhs" ["DDDDDDDDDD"] nhs Never, ["nhs", "national health"];
    Phi "au_medicare" ["DDDDDDDDDD", "DDDDDDDDD"] au_medicare Never, ["medicare"];
    Pii "us_passport" ["DDDDDDDDD", "LDDDDDDDD"] varied Never, ["us passport", "travel document"];
    Pii "passport_number" ["LDDDDDDD", "LDDDDDDDD", "DDDDDDDDD", "LLDDDDDDD", "LLLDDDDDD", "LADAADAAD", "LAALAALAA", "LDDDLDDDD"] varied
        Never, ["passport", "passeport", "pasaporte", "passnummer", "reisepass", "passaporto", "여권"];
    Pii "phone_number" ["DDDDDDDDDD"] nanp Grouped(&[3, 3, 4]), [];
    Pii "phone_number" ["DDDDDDDDDDD"] nanp Grouped(&[1, 3, 3, 4]), [];
    Pii "phone_number" ["DDDDDDD*"] varied Never, ["phone", "telephone", "tel", "telefon", "telefono", "telepono", "mobile", "cell",
        "cellphone", "fax", "whatsapp", "sms", "msisdn", "call", "handy", "cep", "portable", "us number", "cn number", "japanese number", "dial"];
}

/// Whether a number without separators has a shape; a `*` at its end is up to as many letters and digits more as there may be.
pub(in crate::sanitize) fn has_shape(shape: &str, compact: &[u8]) -> bool {
    let (fixed, open) = shape.strip_suffix('*').map_or((shape, false), |fixed| (fixed, true));
    let letters = |(want, c): (u8, &u8)| match want {
        b'D' => c.is_ascii_digit(),
        b'L' => c.is_ascii_uppercase(),
        _ => c.is_ascii_digit() || c.is_ascii_uppercase(),
    };
    let more = if fixed.ends_with('D') { u8::is_ascii_digit } else { u8::is_ascii_alphanumeric };
    let most = if fixed.ends_with('D') { 15 } else { 34 };
    (if open { (fixed.len()..=most).contains(&compact.len()) } else { compact.len() == fixed.len() })
        && fixed.bytes().zip(compact).all(letters)
        && compact.iter().skip(fixed.len()).all(more)
}

use super::*;

fn terms(glossary: &Glossary) -> Vec<(&str, &str)> {
    glossary.entries().iter().map(|e| (e.term.source(), e.term.target())).collect()
}

fn problems(format: Format, content: &str) -> Vec<String> {
    let problems = import(format, content, LanguagePair::default()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn tsv_and_csv_hold_pairs() {
    let tsv = "# hotel\nfront desk\tRezeption\n\n\"quoted\"\tso\n";
    let glossary = import(Format::Tsv, tsv, LanguagePair::default()).unwrap().glossary;
    assert_eq!(terms(&glossary), [("front desk", "Rezeption"), ("\"quoted\"", "so")]);
    let csv = "\u{feff}\"desk, front\",Rezeption\r\nlift,Aufzug\r\n";
    let glossary = import(Format::Csv, csv, LanguagePair::default()).unwrap().glossary;
    assert_eq!(terms(&glossary), [("desk, front", "Rezeption"), ("lift", "Aufzug")]);
}

#[test]
fn a_header_says_the_languages() {
    let any = LanguagePair::default();
    let glossary = import(Format::Csv, "en,de\nlift,Aufzug\n", any).unwrap().glossary;
    let pair = glossary.entries()[0].pair;
    assert_eq!((pair.source, pair.target), (Some(Language::English), Some(Language::German)));
    // Only the first row can be one, and only if both are languages.
    let glossary = import(Format::Csv, "lift,Aufzug\nen,de\n", any).unwrap().glossary;
    assert_eq!(glossary.len(), 2);
    let german = LanguagePair { source: None, target: Some(Language::German) };
    let glossary = import(Format::Csv, "lift,Aufzug\n", german).unwrap().glossary;
    assert_eq!(glossary.entries()[0].pair, german);
}

#[test]
fn problems_name_their_lines() {
    assert_eq!(
        problems(Format::Tsv, "a\tb\nonly\nx\ty\tz\n\tempty\n"),
        [
            "line 2: 1 columns, expected 2",
            "line 3: 3 columns, expected 2",
            "line 4: has an empty source; to keep a phrase as it is, write it on both sides",
        ]
    );
    assert_eq!(problems(Format::Csv, &"x\n".repeat(100)).len(), PROBLEMS_MAX);
    let long = "a".repeat(IMPORT_BYTES_MAX + 1);
    assert!(problems(Format::Csv, &long)[0].starts_with("it has 10485761 bytes"));
}

#[test]
fn formats_have_names() {
    assert_eq!("TSV".parse(), Ok(Format::Tsv));
    assert!("xlsx".parse::<Format>().unwrap_err().to_string().contains("allowed: tsv, csv"));
}

fn rows(imported: &Imported) -> Vec<String> {
    let row = |e: &GlossaryEntry| {
        let code = |language: Option<Language>| language.map_or("*", Language::code);
        let mark = if e.is_case_sensitive { "!" } else { "" };
        format!("{}>{}{mark} {}", code(e.pair.source), code(e.pair.target), e.term)
    };
    imported.glossary.entries().iter().map(row).collect()
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(ToString::to_string).collect()
}

fn read(format: Format, content: &str) -> Imported {
    import(format, content, LanguagePair::default()).unwrap()
}

#[test]
fn tables_have_three_shapes() {
    let set = read(Format::Csv, "en,de,pos,fr\nlift,Aufzug,noun,ascenseur\nroom,Zimmer,,\n");
    assert_eq!(
        rows(&set),
        [
            "en>de lift=Aufzug",
            "en>fr lift=ascenseur",
            "de>en Aufzug=lift",
            "de>fr Aufzug=ascenseur",
            "fr>en ascenseur=lift",
            "fr>de ascenseur=Aufzug",
            "en>de room=Zimmer",
            "de>en Zimmer=room",
        ]
    );
    let french = LanguagePair { source: None, target: Some(Language::French) };
    let set = import(Format::Csv, "en,de,fr\nlift,Aufzug,ascenseur\n", french).unwrap();
    assert_eq!(rows(&set), ["en>fr lift=ascenseur", "de>fr Aufzug=ascenseur"]);
    for four in [
        "lift\tAufzug\ten\tde-AT\n",
        "source\ttarget\tsource_lang\ttarget_lang\nlift\tAufzug\ten\tde\n",
    ] {
        assert_eq!(rows(&read(Format::Tsv, four)), ["en>de lift=Aufzug"]);
    }
    let words = read(Format::Csv, "French,German\n");
    assert_eq!(rows(&words), ["*>* French=German"], "names of languages are words");
    assert_eq!(problems(Format::Csv, "en,de,fr\na,b\n"), ["line 2: 2 columns, expected 3"]);
    let error = problems(Format::Csv, "lift,Aufzug,en,cz\n").remove(0);
    assert!(error.starts_with("line 1: a language 'cz'") && error.contains("'cs'"), "{error}");
}

#[test]
fn two_translations_of_one_phrase_are_told() {
    let twice = read(Format::Tsv, "lift\tAufzug\nLift\tLift\nlift\tFahrstuhl\nlift\tFahrstuhl\n");
    assert_eq!(rows(&twice), ["*>* lift=Fahrstuhl", "*>* Lift=Lift"]);
    assert_eq!(
        notes(&twice),
        ["line 3: 'lift' is 'Fahrstuhl' here and 'Aufzug' in line 1; the later one holds"]
    );
    let many: String = (0..100).map(|i| format!("lift\t{i}\n")).collect();
    let many = read(Format::Tsv, &many);
    assert_eq!(many.notes.len(), PROBLEMS_MAX);
    assert_eq!(many.notes[19].what, "80 more phrases have two translations; the later one holds");
}

const TBX_3: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tbx [<!ENTITY harmless "x">]>
<tbx type="TBX-Basic" xml:lang="en" xmlns="urn:iso:std:iso:30042:ed-2" xmlns:min="http://www.tbxinfo.net/ns/min">
<text><body>
<conceptEntry id="c1">
 <langSec xml:lang="en-US">
  <termSec><term>old lift</term><termNote type="administrativeStatus">deprecatedTerm-admn-sts</termNote></termSec>
  <termSec><term>elevator</term></termSec>
  <termSec><term>A&amp;B <hi>lift</hi></term><min:administrativeStatus>preferredTerm-admn-sts</min:administrativeStatus></termSec>
 </langSec>
 <langSec xml:lang="zh-TW"><termSec><term>電&#x68AF;</term><termNote type="caseSensitive">yes</termNote></termSec></langSec>
 <langSec xml:lang="fi"><termSec><term>hissi</term></termSec></langSec>
</conceptEntry>
</body></text></tbx>"#;

#[test]
fn tbx_takes_the_preferred_term_and_never_a_deprecated_one() {
    let tbx = read(Format::Tbx, TBX_3);
    assert_eq!(
        rows(&tbx),
        [
            "en>zh-Hant old lift=電梯",
            "en>zh-Hant elevator=電梯",
            "en>zh-Hant A&B lift=電梯",
            "zh-Hant>en! 電梯=A&B lift",
        ]
    );
    assert_eq!(notes(&tbx), ["line 12: 1 left out: the language 'fi' is not supported"]);
    let only_bad = TBX_3.replace("zh-TW", "en").replace("<term>elevator</term>", "<term/>");
    let tbx = read(Format::Tbx, &only_bad);
    assert!(tbx.glossary.is_empty());
    assert!(notes(&tbx).contains(
        &"line 5: 3 left out: the concept has a term to use in one language only".to_owned()
    ));
}

#[test]
fn tbx_2_and_tbx_min_are_read() {
    let martif = r#"<martif type="TBX"><text><body><termEntry>
        <langSet xml:lang="en"><ntig><termGrp><term>exhibit
        hall</term><termNote type="administrativeStatus">admittedTerm-admn-sts</termNote></termGrp></ntig></langSet>
        <langSet lang="DE"><tig><term>Saal</term><termNote type="normativeAuthorization">supersededTerm</termNote></tig>
        <tig><term>Ausstellungssaal</term></tig></langSet>
        </termEntry></body></text></martif>"#;
    assert_eq!(
        rows(&read(Format::Tbx, martif)),
        [
            "en>de exhibit hall=Ausstellungssaal",
            "de>en Saal=exhibit hall",
            "de>en Ausstellungssaal=exhibit hall",
        ]
    );
    let min = r#"<TBX dialect="TBX-Min"><body><termEntry id="C1">
        <langGroup xml:lang="en"><termGroup><term>dock</term><termStatus>obsolete</termStatus></termGroup></langGroup>
        <langGroup xml:lang="ja"><termGroup><term><![CDATA[ドック]]></term></termGroup></langGroup>
        </termEntry></body></TBX>"#;
    assert_eq!(rows(&read(Format::Tbx, min)), ["en>ja dock=ドック"]);
}

fn tmx(srclang: &str, units: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE tmx SYSTEM \"tmx14.dtd\">\n<tmx version=\"1.4\">\n\
         <header srclang=\"{srclang}\"/>\n<body>\n{units}\n</body></tmx>"
    )
}

#[test]
fn tmx_takes_short_segments_from_its_source_language() {
    let units = "<tu><tuv xml:lang='en-GB'><seg><bpt i='1'>{b}</bpt>front<ept i='1'>{/b}</ept> <hi>desk</hi></seg></tuv>\
        <tuv lang='DE'><seg>Rezeption</seg></tuv><tuv xml:lang='fr'><seg>réception</seg></tuv></tu>\n\
        <tu><tuv xml:lang='en'><seg>Please wait here.</seg></tuv><tuv xml:lang='de'><seg>Bitte hier warten.</seg></tuv></tu>\n\
        <tu srclang='de'><tuv xml:lang='en'><seg>lift</seg></tuv><tuv xml:lang='de'><seg>Aufzug</seg></tuv></tu>\n\
        <tu><tuv xml:lang='de'><seg>eins zwei drei vier fünf sechs sieben acht neun</seg></tuv></tu>";
    let read_tmx = read(Format::Tmx, &tmx("en", units));
    assert_eq!(
        rows(&read_tmx),
        ["en>de front desk=Rezeption", "en>fr front desk=réception", "de>en Aufzug=lift"]
    );
    assert_eq!(
        notes(&read_tmx),
        [
            "line 7: 2 left out: a segment that ends like a sentence is no term",
            "line 9: 1 left out: a segment of more than 80 characters or 8 words is no term",
        ]
    );
    let all = tmx(
        "*all*",
        "<tu><tuv xml:lang='en'><seg>lift</seg></tuv><tuv xml:lang='zh-CN'><seg>电梯</seg></tuv></tu>",
    );
    assert_eq!(rows(&read(Format::Tmx, &all)), ["en>zh lift=电梯", "zh>en 电梯=lift"]);
    let finnish = read(Format::Tmx, &all.replace("*all*", "fi"));
    assert_eq!(
        notes(&finnish),
        ["line 6: 2 left out: of srclang, the language 'fi' is not supported"]
    );
}

#[test]
fn broken_xml_is_refused_by_line() {
    let deep = format!("<tbx>{}", "<a>".repeat(xml::XML_DEPTH_MAX));
    let long = TBX_3.replace("elevator", &"x".repeat(3000));
    for (format, content, expected) in [
        (Format::Tbx, "<tbx>\n<text>\n</body></tbx>", "line 3: it is not well-formed XML"),
        (Format::Tbx, "<tbx>\n<text>\n", "line 3: the file ends inside an element"),
        (
            Format::Tbx,
            "<html></html>",
            "line 1: the first element is <html>, expected <martif> or <tbx>",
        ),
        (Format::Tbx, "", "it has no element <martif> or <tbx>"),
        (Format::Tmx, "<tbx/>", "line 1: the first element is <tbx>, expected <tmx>"),
        (Format::Tbx, deep.as_str(), "line 1: elements are nested deeper than 64"),
        (
            Format::Tbx,
            "<!DOCTYPE tbx [<!ENTITY a \"aaaa\">]>\n<tbx>\n<term>&a;</term></tbx>",
            "line 3: the entity '&a;' is not known; entities of a DTD are not read",
        ),
        (Format::Tbx, long.as_str(), "line 8: has a source of"),
    ] {
        let problems = problems(format, content);
        assert!(problems[0].starts_with(expected), "{problems:?}");
    }
}

#[test]
fn the_format_is_told_by_name_or_content() {
    for (name, content, expected) in [
        ("TMX", "", Format::Tmx),
        ("", TBX_3, Format::Tbx),
        ("xml", "\u{feff}<?xml version='1.0'?><!-- <tbx> --><tmx/>", Format::Tmx),
        ("", "# a comment\n\nlift\tAufzug", Format::Tsv),
        ("txt", "lift,Aufzug", Format::Csv),
    ] {
        assert_eq!(Format::named_or_sniffed(name, content), Ok(expected), "{name} {content}");
    }
    assert!(Format::named_or_sniffed("xlsx", "").is_err());
}

#[test]
fn files_are_utf_8_or_marked_utf_16() {
    let bytes = |order: fn(u16) -> [u8; 2]| {
        "\u{feff}lift\tж".encode_utf16().flat_map(order).collect::<Vec<u8>>()
    };
    assert_eq!(decode(&bytes(u16::to_le_bytes)).unwrap(), "lift\tж");
    assert_eq!(decode(&bytes(u16::to_be_bytes)).unwrap(), "lift\tж");
    let error = decode(b"a\nb\n\xe4").unwrap_err().in_file("museum.csv");
    assert_eq!(error, "museum.csv line 3: it is not UTF-8 here; save it as UTF-8");
    assert_eq!(decode(b"\xff\xfe\x00\xd8").unwrap_err().line, 0);
}

#[test]
fn more_entries_than_a_glossary_takes_are_refused() {
    let many: String = (0..=GLOSSARY_TERMS_MAX).map(|i| format!("a{i}\tb\n")).collect();
    let problem = problems(Format::Tsv, &many).remove(0);
    assert!(problem.starts_with("line 50001: 50001 terms given, the limit is 50000"), "{problem}");
}

#[test]
fn what_is_read_survives_being_written_and_read() {
    use crate::glossary::export::export;
    for content in [
        "en,de\n\"a, b\",\"say \"\"c\"\"\"\nüber,上\n",
        "lift,Aufzug\n#1,x\n",
        "lift,Aufzug,en,de\nlift,ascenseur,en,fr\n电梯,lift,zh,\n",
    ] {
        let before = read(Format::Csv, content).glossary;
        let written = export(Format::Csv, &before).unwrap();
        assert_eq!(read(Format::Csv, &written.content).glossary, before, "{content}");
        match export(Format::Tsv, &before) {
            Ok(written) => assert_eq!(read(Format::Tsv, &written.content).glossary, before),
            Err(error) => assert_eq!(
                error.to_string(),
                "'#1' begins with '#', which is a comment in tsv; write csv"
            ),
        }
    }
    let lost = export(Format::Csv, &read(Format::Tbx, TBX_3).glossary).unwrap().n_case_rules_lost;
    assert_eq!(lost, 1);
    assert!(export(Format::Tbx, &Glossary::default()).is_err());
}

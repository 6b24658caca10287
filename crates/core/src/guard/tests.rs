//! Good translations that no guard may touch, over all languages.

use proptest::prelude::*;

use super::*;

fn language(code: &str) -> Language {
    Language::parse(code).unwrap()
}

/// `source>target`, text, translation.
const GOOD: &[(&str, &str, &str)] = &[
    (
        "en>zh",
        "Please wait here, the robot will be with you in 15 minutes.",
        "请在这里稍等，机器人15分钟后到您身边。",
    ),
    (
        "en>zh-Hant",
        "The conference room is on the 3rd floor, next to the elevator.",
        "會議室在三樓，電梯旁邊。",
    ),
    ("en>yue", "Sorry, I don't know where the station is.", "唔好意思，我唔知車站喺邊度。"),
    (
        "en>fr",
        "The train to Paris leaves at 18:45 from platform 12.",
        "Le train pour Paris part à 18 h 45 du quai 12.",
    ),
    (
        "en>pt",
        "Your room costs 1,250.00 reais per week.",
        "O seu quarto custa 1.250,00 reais por semana.",
    ),
    ("en>es", "How many people are in your party?", "¿Cuántas personas son en su grupo?"),
    ("en>ja", "The museum closes at 5 pm today.", "博物館は本日17時に閉館します。"),
    ("en>tr", "Can you bring me two bottles of water?", "Bana iki şişe su getirebilir misin?"),
    ("en>ru", "Follow me to gate A12, please.", "Пожалуйста, следуйте за мной к выходу A12."),
    ("en>ar", "The pharmacy is open until 22:00.", "الصيدلية مفتوحة حتى الساعة ٢٢:٠٠."),
    ("en>ko", "Please charge the robot before 8 o'clock.", "8시 전에 로봇을 충전해 주세요."),
    ("en>th", "There are 25 guests in the restaurant.", "มีแขก 25 คนในร้านอาหาร"),
    ("en>it", "My battery is at 40 percent.", "La mia batteria è al 40 per cento."),
    (
        "en>de",
        "I'm sorry, I did not understand that. Could you say it again?",
        "Entschuldigung, das habe ich nicht verstanden. Könnten Sie es noch einmal sagen?",
    ),
    ("en>vi", "The elevator is out of order.", "Thang máy bị hỏng."),
    ("en>ms", "Please take off your shoes.", "Sila tanggalkan kasut anda."),
    ("en>id", "The doctor will see you in 30 minutes.", "Dokter akan menemui Anda dalam 30 menit."),
    ("en>tl", "Where is the nearest bank?", "Nasaan ang pinakamalapit na bangko?"),
    ("en>hi", "The meeting starts at 9:30.", "बैठक 9:30 बजे शुरू होगी।"),
    ("en>pl", "Turn left after 200 metres.", "Po 200 metrach skręć w lewo."),
    ("en>cs", "The kitchen is behind this door.", "Kuchyně je za těmito dveřmi."),
    ("en>nl", "Watch the video on YouTube.", "Bekijk de video op YouTube."),
    ("en>km", "Hello, how can I help you?", "សួស្តី តើខ្ញុំអាចជួយអ្វីអ្នកបាន?"),
    ("en>my", "The toilet is over there.", "အိမ်သာက ဟိုဘက်မှာ ရှိပါတယ်။"),
    ("en>fa", "The price is 45,000 rials.", "قیمت ۴۵٬۰۰۰ ریال است."),
    ("en>gu", "Please close the window.", "કૃપા કરીને બારી બંધ કરો."),
    ("en>ur", "The bus arrives at 7:15.", "بس ۷:۱۵ پر پہنچتی ہے۔"),
    ("en>te", "Breakfast is served in room 204.", "అల్పాహారం 204 గదిలో వడ్డిస్తారు."),
    ("en>mr", "The library is closed on Sunday.", "ग्रंथालय रविवारी बंद असते."),
    ("en>he", "Where can I buy a ticket?", "איפה אפשר לקנות כרטיס?"),
    ("en>bn", "The medicine costs 350 taka.", "ওষুধটির দাম ৩৫০ টাকা।"),
    ("en>ta", "The robot is cleaning the floor.", "ரோபோ தரையை சுத்தம் செய்கிறது."),
    ("en>uk", "Thank you very much for your help!", "Щиро дякую за вашу допомогу!"),
    ("zh>bo", "你好，欢迎来到图书馆。", "བཀྲ་ཤིས་བདེ་ལེགས། དཔེ་མཛོད་ཁང་ལ་ཕེབས་པར་དགའ་བསུ་ཞུ།"),
    ("zh>kk", "请把门关上。", "Есікті жабыңызшы."),
    ("zh>mn", "我们明天上午十点见面。", "Бид маргааш өглөө арван цагт уулзана."),
    ("zh>ug", "机器人正在充电。", "ماشىنا ئادەم توك قاچىلاۋاتىدۇ."),
    ("zh>en", "不客气。", "You're welcome."),
    (
        "zh>en",
        "第十二届会议将于2025年11月3日举行。",
        "The 12th meeting will be held on November 3, 2025.",
    ),
    ("zh>de", "这款机器人售价一万二千元。", "Dieser Roboter kostet 12.000 Yuan."),
    ("zh>ja", "请勿触摸展品。", "展示品に手を触れないでください。"),
    ("zh>zh-Hant", "请问洗手间在哪里？", "請問洗手間在哪裡？"),
    ("zh>yue", "你吃饭了吗？", "你食咗飯未呀？"),
    ("ja>en", "少々お待ちください。", "One moment, please."),
    ("ja>zh", "コンピューターを再起動してください。", "请重新启动计算机。"),
    ("ja>ko", "写真を撮ってもいいですか。", "사진을 찍어도 될까요?"),
    ("ko>en", "안녕히 주무세요.", "Good night."),
    ("ko>zh", "이 기차는 부산까지 갑니다.", "这列火车开往釜山。"),
    ("de>en", "Donaudampfschifffahrtsgesellschaft", "Danube Steamship Company"),
    ("de>zh", "Der Zug nach Berlin hat 10 Minuten Verspätung.", "开往柏林的火车晚点10分钟。"),
    (
        "fr>de",
        "C'est l'heure du déjeuner, n'est-ce pas ?",
        "Es ist Zeit fürs Mittagessen, nicht wahr?",
    ),
    ("es>en", "¡Ja, ja, ja, ja! Qué gracioso.", "Ha, ha, ha, ha! How funny."),
    ("ru>zh", "Иван Петров работает в Яндексе уже 5 лет.", "伊万·彼得罗夫在Yandex工作已经五年了。"),
    ("ru>uk", "Дверь открыта, входите, пожалуйста.", "Двері відчинені, заходьте, будь ласка."),
    ("ar>en", "الغرفة رقم ١٢٣ في الطابق الثاني.", "Room number 123 is on the second floor."),
    ("hi>en", "कृपया 5 मिनट रुकिए।", "Please wait five minutes."),
    ("th>zh", "ห้องน้ำอยู่ทางซ้ายมือ", "洗手间在左手边。"),
    ("id>ms", "Saya suka makan nasi goreng.", "Saya suka makan nasi goreng."),
    ("pt>es", "Onde fica a estação?", "¿Dónde está la estación?"),
    (
        "en>zh",
        "Open the settings of TurtleBot4 and choose Wi-Fi.",
        "打开 TurtleBot4 的设置，选择 Wi-Fi。",
    ),
    ("en>de", "Hotel Adlon, Berlin", "Hotel Adlon, Berlin"),
    ("en>de", "OK", "OK"),
    (
        "en>fr",
        "He said: \"Translation: a difficult art.\"",
        "Il a dit : « Traduction : un art difficile. »",
    ),
    (
        "en>de",
        "Note: the lift (on the right) is slow.",
        "Hinweis: Der Aufzug (rechts) ist langsam.",
    ),
    (
        "en>ja",
        "Version 2.1.3 was released in May 2023.",
        "バージョン2.1.3は2023年5月にリリースされました。",
    ),
    ("en>zh", "About 3.5 million people live here.", "大约有350万人住在这里。"),
    // Links, tags, code and addresses.
    (
        "en>zh",
        "See https://github.com/example/robot-demo/blob/main/readme.md",
        "参见 https://github.com/example/robot-demo/blob/main/readme.md",
    ),
    (
        "en>ru",
        "<p class=\"notice\"><a href=\"https://example.com/the/guide\">Stop</a></p>",
        "<p class=\"notice\"><a href=\"https://example.com/the/guide\">Стоп</a></p>",
    ),
    (
        "en>ja",
        "Run `ros2 launch robot bringup.launch.py`.",
        "`ros2 launch robot bringup.launch.py`を実行。",
    ),
    ("en>ar", "Write to front-desk@grand-hotel.example.", "راسل front-desk@grand-hotel.example."),
    // One word, titles, names.
    ("en>th", "Yes", "ใช่"),
    ("en>ja", "Yes", "はい"),
    ("en>zh", "OK", "OK"),
    ("en>zh", "Wi-Fi password: guest2024", "Wi-Fi 密码：guest2024"),
    ("en>zh-Hant", "Hong Kong", "香港"),
    ("en>zh-Hant", "Taipei Main Station", "臺北車站"),
    ("zh>en", "《红楼梦》", "\"Dream of the Red Chamber\""),
    ("ja>zh", "ブルートゥース", "Bluetooth"),
    ("ru>zh", "Майкрософт Офис", "Microsoft Office"),
    ("en>ja", "Ministry of Education", "文部科学省"),
    (
        "en>ja",
        "Ministries: education, economy, transport, health, finance",
        "文部科学省、経済産業省、国土交通省、厚生労働省、財務省",
    ),
    ("zh>ja", "东京大学图书馆利用案内", "東京大学図書館利用案内"),
    ("zh-Hant>ja", "東京都立中央圖書館", "東京都立中央図書館"),
    // Numbers and tables.
    ("en>de", "1. 2. 3. Go!", "1. 2. 3. Los!"),
    (
        "en>de",
        "A: 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00",
        "A: 0,00 0,00 0,00 0,00 0,00 0,00 0,00 0,00 0,00",
    ),
    (
        "en>zh",
        "| Day | Open |\n| --- | --- |\n| Mon | 9-17 |",
        "| 日期 | 营业时间 |\n| --- | --- |\n| 星期一 | 9-17 |",
    ),
    ("en>ru", "Count: one, two, three", "Счёт: один, два, три"),
    // Mixed scripts.
    ("en>kk", "Please close the door.", "Esikti jabıñızşı."),
    ("en>mn", "Hello, welcome to the hotel.", "Сайн байна уу, зочид буудалд тавтай морил."),
    ("en>mn", "Welcome to the hotel.", "ᠵᠣᠴᠢᠳ ᠪᠠᠭᠤᠳᠠᠯ ᠳᠤ ᠲᠠᠪᠲᠠᠢ ᠮᠣᠷᠢᠯᠠ"),
    ("en>ug", "Hello, how are you today?", "Yaxshimusiz, bügün qandaq ehwalingiz?"),
    ("en>ja", "PDF and USB and HDMI", "PDF、USB、HDMI"),
    ("en>ko", "The university (大學) is old.", "그 대학교(大學)는 오래되었다."),
    ("ja>en", "はははははははは", "Hahahahahahahaha"),
    ("en>zh", "No no no no no no no no, stop!", "不不不不不不不不，停下！"),
    ("en>th", "Please go very slowly and carefully.", "กรุณาไปช้าๆ อย่างระมัดระวัง"),
    ("en>hi", "Bye", "अलविदा"),
];

#[test]
fn good_translations_of_all_languages_are_left_alone() {
    for (pair, text, translation) in GOOD {
        let (source, target) = pair.split_once('>').unwrap();
        let (source, target) = (Some(language(source)), language(target));
        let asked = Asked { text, source, target, terms: &[] };
        let (cleaned, n_leaked) = leak::strip(translation, text);
        assert_eq!((cleaned.as_str(), n_leaked), (*translation, 0));
        let report = read(translation, &asked);
        let expected =
            Report { text: (*translation).to_owned(), fault: None, wrappers: Vec::new() };
        assert_eq!(report, expected, "{pair} {text}");
        assert_eq!(lacks(translation, text, target), [""; 0], "{pair} {text}");
        // As it grows it is no loop either.
        for (end, _) in translation.char_indices() {
            assert_eq!(repetition::at_end(&translation[..end], Repeats::of(text)), None);
        }
    }
    let missing: Vec<_> = Language::all()
        .filter(|l| !GOOD.iter().any(|(pair, ..)| pair.split('>').any(|code| language(code) == *l)))
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn the_worst_of_several_faults_is_told() {
    let asked = Asked {
        text: "Please close the door behind you.",
        source: Some(Language::English),
        target: Language::Chinese,
        terms: &[],
    };
    let fault = |answer: &str| read(answer, &asked).fault.map(|fault| fault.to_string());
    let told = |why: &str| Some(format!("the answer {why}"));
    assert_eq!(fault(&"请关门。".repeat(20)), told("repeats itself without end"));
    assert_eq!(fault("Please close the door behind you."), told("is in Latin letters"));
    assert_eq!(fault("将以下文本翻译为中文：请关门"), told("repeats the instruction"));
    assert_eq!(fault("請將門關上，謝謝您"), told("is in traditional characters"));
    assert_eq!(fault("请"), None);
    let german = Asked { target: Language::German, ..asked };
    let same = read(asked.text, &german).fault;
    assert_eq!(same, Some(Fault::Echo));
    assert_eq!(same.map(Fault::is_useless), Some(false));
    let lacking = lacks("Zimmer", "Rooms 12, 34 and A12", Language::German);
    assert_eq!(lacking, ["numbers differ: 12, 34 are missing", "names differ: A12 is missing"]);
}

proptest! {
    #[test]
    fn reading_never_panics_and_never_takes_everything(
        answer in "([a-z 0-9.:]{0,8}|[\u{4e00}-\u{4eff}。]{0,6}|[\"“”()（）*]|\\PC{0,6}){0,12}",
        text in "([a-z 0-9.:]{0,8}|[\u{4e00}-\u{4eff}。]{0,6}|\\PC{0,6}){0,12}",
        target in prop::sample::select(Language::all().collect::<Vec<_>>()),
    ) {
        let (cleaned, _) = leak::strip(&answer, &text);
        let asked = Asked { text: &text, source: Some(Language::English), target, terms: &[] };
        let report = read(&cleaned, &asked);
        let has_words = |text: &str| text.chars().any(char::is_alphanumeric);
        prop_assert_eq!(has_words(&report.text), has_words(&cleaned));
        prop_assert!(answer.contains(&report.text) || cleaned.contains(&report.text));
        lacks(&report.text, &text, target);
        let repeats = Repeats::of(&text);
        prop_assert!(repetition::cut(&report.text, repeats).len() <= report.text.len());
    }
}

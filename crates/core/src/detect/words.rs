//! The most frequent short words of each language, among those that share its script.
//!
//! Short utterances are mostly such words, and letter statistics know little about them. The lists are
//! closed classes (articles, pronouns, prepositions, auxiliaries, question words) and a few polite
//! formulas; nouns stay out, so that the topic of a text does not decide.

use crate::language::Language;

/// Number of words of `text` that each of `candidates` counts among its most frequent. `text` is
/// lower case.
pub(super) fn counts(text: &str, candidates: &[Language]) -> Vec<usize> {
    let is_inner = |c: char| c.is_alphanumeric() || super::script::is_mark(c);
    let words: Vec<&str> = text.split(|c: char| !is_inner(c)).filter(|w| !w.is_empty()).collect();
    let count = |language: &Language| {
        let Some((_, list)) = WORDS.iter().find(|(listed, _)| listed == language) else { return 0 };
        let is_known = |word: &&&str| list.split(' ').any(|known| known == **word);
        let known = words.iter().filter(is_known).count();
        match language {
            Language::Mongolian => known + words.iter().filter(|w| has_long_vowel(w)).count(),
            _ => known,
        }
    };
    candidates.iter().map(count).collect()
}

/// Mongolian writes long vowels twice, which the other languages in Cyrillic hardly ever do.
fn has_long_vowel(word: &str) -> bool {
    ["аа", "оо", "уу", "ээ", "өө", "үү", "ий"].iter().any(|long| {
        // `ий` ends half of all Russian adjectives.
        word.find(long).is_some_and(|at| *long != "ий" || at + long.len() < word.len())
    })
}

static WORDS: &[(Language, &str)] = &[
    (
        Language::English,
        "the a an of to in is are was were be been i you he she it we they my your his her our their this that \
         these those and or but not do does did have has had can could will would should may must at on for with \
         from by about into after before where what who when why how which there here please thank thanks hello \
         yes no me him us them if as up down out over very",
    ),
    (
        Language::French,
        "le la les un une des du de d l je j tu il elle on nous vous ils elles mon ma mes ton ta tes son sa ses \
         notre votre nos vos leur ce cet cette ces et ou où mais ne n pas est sont était suis es êtes ai as a \
         avons avez ont peux peut pouvez dans sur sous avec pour par en au aux à chez que qu qui quoi quand \
         comment pourquoi quel quelle s se me m te t y oui non merci bonjour très plus après avant ici là",
    ),
    (
        Language::Portuguese,
        "o a os as um uma de do da dos das em no na nos nas ao à por pelo pela para com sem e ou mas não é são \
         está estão foi ser ter tem eu tu você ele ela nós vocês eles elas meu minha seu sua nosso nossa este \
         esta esse essa isto isso que quem onde quando como porque qual se me te lhe muito mais aqui ali depois \
         antes sim obrigado obrigada olá bom dia pode posso há já",
    ),
    (
        Language::Spanish,
        "el la los las un una unos unas de del en al a por para con sin y o pero no es son está están fue ser \
         tener tiene yo tú usted él ella nosotros ustedes ellos mi mis su sus tu nuestro este esta ese esa esto \
         eso que quién dónde cuándo cómo porque cuál qué se me te le lo les muy más aquí allí después antes sí \
         gracias hola buenos días puede puedo hay ya he ha",
    ),
    (
        Language::Turkish,
        "bir bu şu o ve veya ama değil mi mı mu mü ben sen biz siz onlar benim senin sizin bizim bana sana size \
         bize beni seni sizi var yok için ile gibi kadar çok daha en ne nerede nasıl neden kim hangi evet hayır \
         lütfen merhaba teşekkür ederim da de sonra önce",
    ),
    (
        Language::Italian,
        "il lo la i gli le un uno una di del dello della dei degli delle a al allo alla ai agli alle in nel nella \
         nei da dal dalla su sul sulla con per e ed o ma non è sono sei era ho hai ha abbiamo avete hanno io tu \
         lui lei noi voi loro mio mia suo sua nostro questo questa quello quella che chi dove quando come perché \
         quale si mi ti ci vi molto più qui qua lì dopo prima sì grazie buongiorno ciao può posso c dov",
    ),
    (
        Language::German,
        "der die das den dem des ein eine einen einem einer und oder aber nicht kein keine ist sind war bin bist \
         sein haben habe hat hast kann können wird werden muss ich du er sie es wir ihr mich mir dich dir ihm ihn \
         ihnen uns mein meine dein ihre unser dieser diese dieses in im an am auf aus bei mit nach von vom zu zum \
         zur für über unter vor wo was wer wann warum wie welche hier da dort sehr mehr ja nein bitte danke hallo",
    ),
    (
        Language::Vietnamese,
        "là và của có không được cho với trong ở tôi bạn anh chị em ông bà chúng ta này đó kia gì đâu nào sao ai \
         khi thì mà nhưng hoặc rất đã đang sẽ xin vui lòng cảm ơn chào một hai đến từ ra vào lên",
    ),
    (
        Language::Malay,
        "saya awak anda dia kami kita mereka ini itu dan atau tetapi tidak bukan ada adalah ialah boleh bolehkah \
         akan telah sudah sedang di ke dari daripada kepada untuk dengan dalam pada yang apa siapa mana bila \
         mengapa kenapa bagaimana sila tolong terima kasih ya kerana jika lepas selepas sebelum mahu hendak \
         perlu adakah helo lagi sangat",
    ),
    (
        Language::Indonesian,
        "saya aku kamu anda dia kami kita mereka ini itu dan atau tetapi tapi tidak bukan ada adalah bisa bisakah \
         dapat akan telah sudah sedang di ke dari kepada untuk dengan dalam pada yang apa apakah siapa mana kapan \
         mengapa kenapa bagaimana silakan tolong terima kasih ya karena jika kalau setelah sebelum ingin mau \
         perlu halo lagi sangat",
    ),
    (
        Language::Filipino,
        "ang ng mga sa na at ay si ni kay ako ikaw ka siya kami tayo kayo sila ko mo niya namin natin ninyo nila \
         akin iyo ito iyan iyon po ba hindi oo may mayroon wala para kung pero dahil saan nasaan nasa ano sino \
         kailan bakit paano alin lang din rin pa kumusta salamat",
    ),
    (
        Language::Polish,
        "i w z na do nie się jest są był była to ten ta te ja ty on ona my wy oni mój moja mnie mi cię ci go jej \
         jego nas was ich co kto gdzie kiedy dlaczego jak czy który która ale lub bo za po przed przy pod nad od \
         o u dla bardzo tak proszę dziękuję dzień dobry może można mam ma masz jestem już tu tam pan pani",
    ),
    (
        Language::Czech,
        "a v ve z ze na do ne se si je jsou byl byla to ten ta ty já on ona my vy oni můj moje mě mi tě ti ho jeho \
         její nás vás jich co kdo kde kdy proč jak který která ale nebo protože za po před při pod nad od o u pro \
         velmi ano prosím děkuji dobrý den může můžete mám má máte jsem už tu tam vám mohu",
    ),
    (
        Language::Dutch,
        "de het een en of maar niet geen is zijn was ben bent heb hebt heeft hebben kan kunt kunnen wordt moet ik \
         jij je hij zij ze wij we jullie u mij me hem haar ons uw mijn jouw deze dit die dat in op aan uit bij met \
         naar van voor over onder na te er waar wat wie wanneer waarom hoe welke hier daar zeer meer ja nee \
         alstublieft dank hallo",
    ),
    (
        Language::Russian,
        "и в на не с со по к у за из от до о для что кто где когда почему как это этот эта я ты он она мы вы они \
         меня мне тебя вас вам нас нам его её их мой моя ваш ваша но или бы же ли да нет есть был была очень уже \
         здесь там пожалуйста спасибо здравствуйте после можно",
    ),
    (
        Language::Ukrainian,
        "і й та в у на не з зі до по за від для що хто де коли чому як це цей ця я ти він вона ми ви вони мене \
         мені тебе вас вам нас нам його її їх мій моя ваш ваша але або би чи так ні є був була дуже вже тут там \
         будь ласка дякую добрий після можна",
    ),
    (
        Language::Kazakh,
        "мен сен сіз ол біз олар менің сенің сіздің оның маған саған сізге бұл сол осы және немесе бірақ емес жоқ \
         бар үшін мен бен пен не кім қайда қашан неге қалай қандай ма ме ба бе па пе иә өте тағы кейін бұрын \
         рақмет сәлем",
    ),
    (
        Language::Mongolian,
        "би чи та тэр бид тэд миний таны түүний намайг надад танд энэ нь ба болон эсвэл гэвч биш үгүй бол байна \
         байгаа юу хэн хаана хэзээ яагаад яаж ямар уу үү вэ бэ тийм маш их дараа өмнө баярлалаа сайн",
    ),
    (
        Language::Arabic,
        "في من إلى على عن مع هذا هذه ذلك أنا أنت هو هي نحن هم لا لم لن ليس ما ماذا هل أين متى كيف لماذا أي كان قد \
         لقد و أو لكن إن أن التي الذي عند بعد قبل هناك هنا نعم شكرا مرحبا يا كل",
    ),
    (
        Language::Persian,
        "از به در با که را این آن و یا اما است هست بود من تو او ما شما آنها برای تا بر چه چرا کجا کی چطور آیا نه \
         بله خیلی هم می نمی بعد قبل لطفا سلام ممنون یک دارید دارم کنید کنم شد شده",
    ),
    (
        Language::Urdu,
        "کا کی کے کو سے میں پر ہے ہیں تھا تھی ہوں اور یا لیکن نہیں کیا کون کہاں کب کیوں کیسے یہ وہ ہم آپ تم مجھے \
         میرا میری میرے اس بہت ہاں جی شکریہ براہ کرم نے بعد",
    ),
    (
        Language::Uyghur,
        "مەن سەن سىز ئۇ بىز ۋە بۇ شۇ بار يوق ئەمەس نېمە كىم قەيەردە قاچان قانداق ئۈچۈن بىلەن رەھمەت كېيىن",
    ),
    (
        Language::Hindi,
        "है हैं था थी हूँ का की के को से में पर ने और या लेकिन नहीं क्या कौन कहाँ कब क्यों कैसे यह वह हम आप तुम \
         मैं मुझे मेरा मेरी मेरे आपका आपकी आपके इस उस बहुत हाँ जी कृपया धन्यवाद बाद",
    ),
    (
        Language::Marathi,
        "आहे आहेत होता होती आणि किंवा पण नाही काय कोण कुठे केव्हा का कसे हा ही हे तो ती ते मी तू तुम्ही आम्ही मला \
         तुला तुम्हाला माझा माझी माझे माझ्या तुमचा तुमची तुमचे तुमच्या खूप हो कृपया धन्यवाद नंतर या",
    ),
];

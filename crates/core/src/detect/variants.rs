//! Telling apart languages that share a script by letters that only one of them uses.

use super::Detection;
use super::script::Script;
use crate::language::Language;

/// Confidence when nothing speaks for one variant and the most common one is taken.
const UNMARKED: f32 = 0.7;
/// Confidence when a letter was found that only one of the languages uses.
const MARKED: f32 = 0.95;

/// Chinese in either script, Cantonese, or Japanese without kana. `candidates` are at least two.
pub(super) fn han(text: &str, candidates: &[Language]) -> Detection {
    let count = |set: &str| text.chars().filter(|c| set.contains(*c)).count();
    let marks = [
        (Language::Cantonese, count(CANTONESE) * 2),
        (Language::Chinese, count(SIMPLIFIED)),
        (Language::TraditionalChinese, count(TRADITIONAL)),
        (Language::Japanese, count(SHINJITAI)),
    ];
    let allowed = marks.into_iter().filter(|(language, _)| candidates.contains(language));
    // The first of several maxima, so that the order above decides between equals.
    let best = allowed.rev().max_by_key(|(_, marks)| *marks).filter(|(_, marks)| *marks > 0);
    if let Some((language, _)) = best {
        return Detection { language, confidence: MARKED };
    }
    let usual = [Language::Chinese, Language::TraditionalChinese, Language::Cantonese];
    let language = usual.into_iter().find(|l| candidates.contains(l)).unwrap_or(candidates[0]);
    Detection { language, confidence: UNMARKED }
}

/// An answer where one letter is enough; `None` where statistics must decide.
pub(super) fn by_letters(script: Script, text: &str, candidates: &[Language]) -> Option<Detection> {
    let marks: &[(Language, &str)] = match script {
        Script::Cyrillic => &[
            (Language::Kazakh, "әғқңұһӘҒҚҢҰҺ"),
            (Language::Ukrainian, "ґєїҐЄЇ"),
            (Language::Mongolian, "өүӨҮ"),
        ],
        Script::Arabic => &[(Language::Uyghur, "ېۇۆۈڭەۋ"), (Language::Urdu, "ٹڈڑںےہ")],
        Script::Devanagari => &[(Language::Marathi, "ळ")],
        _ => &[],
    };
    let (language, _) = marks
        .iter()
        .filter(|(language, _)| candidates.contains(language))
        .find(|(_, letters)| text.chars().any(|c| letters.contains(c)))?;
    Some(Detection { language: *language, confidence: MARKED })
}

/// Characters that written Cantonese uses and Mandarin does not.
const CANTONESE: &str = "嘅喺咗唔佢哋嚟啲冇嗰睇嘢咁俾攞搵瞓嘥嗌攰嘞喇噉咩嘈冚晒乜";

/// Common characters that exist only in simplified writing.
const SIMPLIFIED: &str = "们这来时说国为会对学过还进长东电车开关门问间见现话语请谢认识让读写书图听声\
动场头号楼层钟点边远运热冷凉饭馆厅厨厕净坏处备检测试员师妈爷医药买卖钱银贵经济级红绿蓝黄颜\
带将将错误难题帮办务务单简张个双几机器转换输达达传连续线网络断启闭锁险护报警应该怎样么没\
给从发当后里面习练节约离归还错设计划档态状显观视频录质量数据总结选择称轻重紧张龙马鸟鱼\
岁乐乡亚产亲仓仪价众优伤体余兴农冲决况净减刘则刚创别剂剧劝劳势区华协卫厂压厉县参叶\
吗员响园围圆块坚垫墙壮夹奋妇孙宁宝实宽宾审导尔尽届岛币师带帘应库废庆异弃弹归录忆怀\
态总恋恶惊惯愿战户执扩扫扬抢护抚择挂挡挤损掷摄摆撑攒敌数无旧显晓暂术权条杨极构枪标栏树桥梦\
检楼欢气汉汤沟泪洁浅测浓涂润涨温湾湿满灯灵炉烟烦烧爱牵犹独狮猎猫玛环珑瓶疗疯痒盐监盖盘码确礼祸\
种积税稳穷窗竞笔筑签紧纪纯纸纺组细终绍给统维绿编缘缩缺罗罚耸职联脉脏脑腾舰艺节芦苏苹范荐药虑虽蚁补装觉规览触订讨训议记讲许论证评诉词译详诚该误调谁谅谈谊谓贝负贡财责败货质购贴费贺资赏赔赖赛赞赢赶跃践踪车轨软轮轻载较辅辆输边过迈运还这远违连迟选递逻遗邮邻郑释针钉钢钥钩铁铃铅铜链销锅锋键镇镜长闪闭问闲闷闹阅队阳阴阵阶际陆陈险随隐难雾静页顶项顺须预领频颗题额风飞饭饮饼馆驱驶驾验骑骗鱼鲜鸡鸭麦";

/// The same for traditional writing; Japanese shares a part of them.
const TRADITIONAL: &str = "們這來時說國為會對學過還進長東電車開關門問間見現話語請謝認識讓讀寫書圖聽聲\
動場頭號樓層鐘點邊遠運熱涼飯館廳廚廁淨壞處備檢測試員師媽爺醫藥買賣錢銀貴經濟級紅綠藍黃顏\
帶將錯誤難題幫辦務單簡張個雙幾機轉換輸達傳連續線網絡斷啟閉鎖險護報應該樣麼沒給從發當後裡\
習練節約離歸設計劃檔態狀顯觀視頻錄質數據總結選擇稱輕緊龍馬鳥魚歲樂鄉亞產親倉儀價眾優傷體\
興農衝決況減劉則剛創別劑劇勸勞勢區華協衛廠壓厲縣參葉嗎響園圍圓塊堅墊牆壯夾奮婦孫寧寶實寬賓審導爾盡屆島幣簾庫廢慶異棄彈憶懷戀惡驚慣願戰戶執擴掃揚搶撫掛擋擠損攝擺撐敵無舊曉暫術權條楊極構槍標欄樹橋夢歡氣漢湯溝淚潔淺濃塗潤漲溫灣濕滿燈靈爐煙煩燒愛牽猶獨獅獵貓環療瘋癢鹽監蓋盤碼確禮禍種積稅穩窮競筆築籤紀純紙紡組細終紹統維編緣縮罰職聯脈臟腦騰艦藝蘆蘇蘋範薦慮雖蟻補裝覺規覽觸訂討訓議記講許論證評訴詞譯詳誠調誰諒談誼謂貝負貢財責敗貨購貼費賀資賞賠賴賽贊贏趕躍踐蹤軌軟輪載較輔輛違遲遞邏遺郵鄰鄭釋針釘鋼鑰鉤鐵鈴鉛銅鏈銷鍋鋒鍵鎮鏡閃閒悶鬧閱隊陽陰陣階際陸陳隨隱霧靜頁頂項順須預領顆額風飛飲餅驅駛駕驗騎騙鮮雞鴨麥";

/// Characters in the form that only Japan writes.
const SHINJITAI: &str = "駅気円広売読変転図検験総発帰竜桜込働畑峠栃戻払仏広拡沢択訳釈駆鉄鋳銭残浅戦単弾厳巣営栄覚歩巻圏権観歓勧実広応桟桜斎済剤辺浜頼焼暁収渋縦従壊懐拝様薬楽県顔産";

//! Telling apart languages that share a script by letters that only one of them uses.

use super::Detection;
use crate::language::Language;

/// Confidence when nothing speaks for one variant and the most common one is taken.
const UNMARKED: f32 = 0.7;
/// Confidence when a letter was found that only one of the languages uses.
pub(super) const MARKED: f32 = 0.95;

/// Chinese in either script, Cantonese, or Japanese without kana. `candidates` are at least two.
pub(super) fn han(text: &str, candidates: &[Language]) -> Detection {
    let count = |set: &str| text.chars().filter(|c| set.contains(*c)).count();
    let mut japanese = count(SHINJITAI);
    if !candidates.contains(&Language::TraditionalChinese) {
        // Then a character that is not simplified is most likely one that Japan kept.
        japanese += count(TRADITIONAL);
    }
    let marks = [
        // One of them decides: standard written Chinese has none, in either script.
        (Language::Cantonese, count(CANTONESE) * 1000),
        (Language::Chinese, count(SIMPLIFIED)),
        (Language::TraditionalChinese, count(TRADITIONAL)),
        (Language::Japanese, japanese),
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

/// Characters that written Cantonese uses and Mandarin does not.
const CANTONESE: &str = "嘅喺咗唔佢哋嚟啲冇嗰睇嘢咁攞搵瞓嘥嘞咩嘈攰";

/// Characters of everyday Chinese, in either writing, that Japanese does not write. A longer text without
/// any may be headings and names in Japanese.
pub(crate) const NOT_JAPANESE: &str =
    "你妳您她它们們这吗嗎呢吧啊哪很谢请说說谁么麼给让讓沒还个为时问问间门进开见车东电钱买卖";

/// Common characters that exist only in simplified writing.
pub(crate) const SIMPLIFIED: &str = "\
    们这来时说国为会对学过还进长东电车开关门问间见现话语请谢认识让读写书图听声动场头号楼层钟点边\
    远运热凉饭馆厅厨厕净坏处备检测试员师妈爷医药买卖钱银贵经济级红绿蓝黄颜带将错误难题帮办务单简\
    张个双几机转换输达传连续线网络断启闭锁险护报应该样么没给从发当习练节约离归设计划档态状显观视\
    频录质数据总结选择称轻紧龙马鸟鱼岁乐乡亚产亲仓仪价众优伤体兴农冲决况减刘则刚创别剂剧劝劳势区\
    华协卫厂压厉县参叶吗响园围圆块坚垫墙壮夹奋妇孙宁宝实宽宾审导尔尽届岛币帘库废庆异弃弹忆怀恋恶\
    惊惯愿战户执扩扫扬抢抚挂挡挤损掷摄摆撑攒敌无旧晓暂术权条杨极构枪标栏树桥梦欢气汉汤沟泪洁浅浓\
    涂润涨温湾湿满灯灵炉烟烦烧爱牵犹独狮猎猫玛环珑瓶疗疯痒盐监盖盘码确礼祸种积税稳穷竞笔筑签纪纯\
    纸纺组细终绍统维编缘缩罗罚耸职联脉脏脑腾舰艺芦苏苹范荐虑虽蚁补装觉规览触订讨训议记讲许论证评\
    诉词译详诚调谁谅谈谊谓贝负贡财责败货购贴费贺资赏赔赖赛赞赢赶跃践踪轨软轮载较辅辆迈违迟递逻遗\
    邮邻郑释针钉钢钥钩铁铃铅铜链销锅锋键镇镜闪闲闷闹阅队阳阴阵阶际陆陈随隐雾静页顶项顺须预领颗额\
    风飞饮饼驱驶驾验骑骗鲜鸡鸭麦";

/// The same for traditional writing; Japanese shares a part of them.
pub(crate) const TRADITIONAL: &str = "\
    們這來時說國為會對學過還進長東電車開關門問間見現話語請謝認識讓讀寫書圖聽聲動場頭號樓層鐘點邊\
    遠運熱涼飯館廳廚廁淨壞處備檢測試員師媽爺醫藥買賣錢銀貴經濟級紅綠藍黃顏帶將錯誤難題幫辦務單簡\
    張個雙幾機轉換輸達傳連續線網絡斷啟閉鎖險護報應該樣麼沒給從發當後裡習練節約離歸設計劃檔態狀顯\
    觀視頻錄質數據總結選擇稱輕緊龍馬鳥魚歲樂鄉亞產親倉儀價眾優傷體興農衝決況減劉則剛創別劑劇勸勞\
    勢區華協衛廠壓厲縣參葉嗎響園圍圓塊堅墊牆壯夾奮婦孫寧寶實寬賓審導爾盡屆島幣簾庫廢慶異棄彈憶懷\
    戀惡驚慣願戰戶執擴掃揚搶撫掛擋擠損攝擺撐敵無舊曉暫術權條楊極構槍標欄樹橋夢歡氣漢湯溝淚潔淺濃\
    塗潤漲溫灣濕滿燈靈爐煙煩燒愛牽猶獨獅獵貓環療瘋癢鹽監蓋盤碼確禮禍種積稅穩窮競筆築籤紀純紙紡組\
    細終紹統維編緣縮罰職聯脈臟腦騰艦藝蘆蘇蘋範薦慮雖蟻補裝覺規覽觸訂討訓議記講許論證評訴詞譯詳誠\
    調誰諒談誼謂貝負貢財責敗貨購貼費賀資賞賠賴賽贊贏趕躍踐蹤軌軟輪載較輔輛違遲遞邏遺郵鄰鄭釋針釘\
    鋼鑰鉤鐵鈴鉛銅鏈銷鍋鋒鍵鎮鏡閃閒悶鬧閱隊陽陰陣階際陸陳隨隱霧靜頁頂項順須預領顆額風飛飲餅驅駛\
    駕驗騎騙鮮雞鴨麥";

/// Characters in the form that only Japan writes.
const SHINJITAI: &str = "\
    駅気円広売読変転図検験総発帰竜桜込働畑峠栃戻払仏拡沢択訳釈駆鉄鋳銭残戦単弾厳巣営栄覚歩巻圏権\
    観歓勧実応桟斎済剤辺浜頼焼暁収渋縦従壊懐拝様薬楽県顔産";

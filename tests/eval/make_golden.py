"""Writes the golden files of tests/eval.rs: scores by the PyPI package sacrebleu, divergences by numpy.

python tests/eval/make_golden.py tests/eval            (sacrebleu 2.x and numpy; same files every time)
python tests/eval/make_golden.py --check tests/eval    (nothing is written; fails if they would change)
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

# Lines that we wrote, in many scripts, with what breaks tokenisers: marks, numbers, entities, spaces.
LINES = [
    "", " ", "a", ".", "...", "-", "\t", "!?", "0", "1.5", "1,000.25", "3-4", "A-4, B-12.", "e.g. this, i.e. that.",
    "The door is open.", "the door is open", "The door is not open, is it?", "Is the door open?", "(hi)", "(hi) there", '"Quoted," he said.',
    "It's 5 o'clock; we're late!", "Price: $1,299.00 (20% off)", "a/b/c and x_y_z", "C:\\path\\file.txt", "mail@example.org", "https://example.org/a?b=c&d=e",
    "Tom &amp; Jerry &lt;b&gt; &quot;x&quot;", "&amp;lt; twice", "<skipped> gone", "line-\nbreak and\nnewline", "non\u00a0breaking and\u2009thin\u3000wide spaces", "file\x1cseparator\x1funit",
    "  leading and trailing  ", "double  space", "trailing mark .", "dash -- and – and — here", "state-of-the-art 24-hour", "No. 7, 8, and 9.", "v1.2.3-rc4", "10:30-11:45", "x=1;y=2;z=3", "{name} and %s and ${x}", "<b>Start</b> now", "#1 @home ^^ ~ `code` |pipe|",
    "Die Tür ist offen.", "Die Tür ist nicht offen, oder?", "Straße, Äpfel, Öl und Übung", "L'école ferme à 16 h 55.", "Où est l'hôtel ?", "¿Dónde está la estación?", "¡Cuidado! El niño está aquí.", "Il costa 12,50 €.", "Não há água.", "Gdzie jest łazienka?", "Kde je výtah? Ve 3. patře.", "Nerede? İstanbul'da, ığdır.",
    "Где находится зарядная станция?", "Дверь открыта, а окно – нет.", "Де знаходиться вокзал?", "Πού είναι η πόρτα;", "דלת פתוחה, נכון?", "أين محطة الشحن؟", "الباب مفتوح، والنافذة مغلقة.", "در باز است، پنجره نیست.", "دروازہ کھلا ہے۔",
    "दरवाज़ा खुला है।", "চার্জিং স্টেশন কোথায়?", "கதவு திறந்திருக்கிறது.", "తలుపు తెరిచి ఉంది.", "દરવાજો ખુલ્લો છે.", "ประตูเปิดอยู่", "สถานีชาร์จอยู่ที่ไหน?", "ទ្វារបើក។", "တံခါးပွင့်နေသည်။", "སྒོ་ཕྱེ་འདུག", "Есік ашық.", "Хаалга онгорхой байна.", "ئىشىك ئوچۇق.",
    "门是开着的。", "门没有开着,对吗?", "充电站在哪里？", "請把急救箱交給客人。", "杯子的价格是82欧元。", "他说：“你好！”——然后走了……", "A4纸和USB-C接口,共3.5元", "《书名》、【注意】", "ドアは開いています。", "ドアは開いていません。", "充電ステーションはどこですか？", "ｶﾀｶﾅとＡＢＣ", "문이 열려 있습니다.", "충전소가 어디에 있어요?", "Cửa đang mở.", "Trạm sạc ở đâu?",
    "→ ← ↑ ★ ☎ ✓ ✂", "😀", "😀 😃 party 🎉!", "👩‍👩‍👧 family 🇩🇪🇯🇵", "e\u0301 and é", "𠀀𠀁 rare 𝔘𝔫𝔦", "\u200bzero\u200bwidth", "\ufeffmark", "naïve café – “quotes” ‘single’ …", "⅓ ½ ² Ⅷ ①", "1٫5 ١٢٣ ۴۵۶", "aaaa aaaa aaaa aaaa", "a b c d e f g h i j", "x" * 60,
]

TOKENIZERS = ["13a", "zh", "char"]


def changed(line, rng):
    """A hypothesis that shares something with the line."""
    words = line.split(" ")
    kind = rng.randrange(6)
    if kind == 0:
        return line
    if kind == 1:
        rng.shuffle(words)
        return " ".join(words)
    if kind == 2:
        return line[: len(line) * 2 // 3]
    if kind == 3:
        return line + rng.choice([".", " .", "!", " and more", "。", "-", " 1,5", "\n"])
    if kind == 4:
        at = rng.randrange(len(line) + 1)
        return line[:at] + rng.choice(["x", " ", ",", "的", "é", "😀"]) + line[at:]
    return rng.choice(LINES)


def scores(hypotheses, references):
    result = {}
    for name in TOKENIZERS:
        metric = BLEU(tokenize=name, force=True)
        result[f"bleu_{name}"] = metric.corpus_score(hypotheses, [references]).score
        result[f"signature_{name}"] = signature(metric)
    for name, order in (("chrf", 0), ("chrf_pp", 2)):
        metric = CHRF(word_order=order)
        result[name] = metric.corpus_score(hypotheses, [references]).score
        result[f"signature_{name}"] = signature(metric)
    return result


def signature(metric):
    return str(metric.get_signature()).rsplit("|version:", 1)[0]


def texts():
    rng = random.Random(20261124)
    pairs = [(changed(line, rng), line) for line in LINES for _ in range(3)]
    pairs += [("", line) for line in LINES[14:24]] + [(line, "") for line in LINES[14:24]]
    corpora = [pairs, pairs[:90], pairs[90:180], pairs[180:]]
    # Each pair by itself is a corpus too: that is where the corner cases are.
    corpora += [[pair] for pair in pairs]
    return dict(
        sacrebleu=sacrebleu.__version__,
        corpora=[dict(pairs=c, **scores([h for h, _ in c], [r for _, r in c])) for c in corpora],
    )


def logits():
    rng = np.random.default_rng(7)
    rows = []
    for scale, noise in ((1, 0), (1, 0.01), (5, 0.1), (20, 1), (50, 30), (0.001, 0.001), (200, 5)):
        reference = (rng.standard_normal(97) * scale).astype(np.float32)
        model = (reference + rng.standard_normal(97).astype(np.float32) * np.float32(noise)).astype(np.float32)
        rows.append((reference, model))
    far = np.zeros(97, np.float32)
    far[3] = 3e4
    rows += [(far, np.roll(far, 1)), (far, np.zeros(97, np.float32)), (np.zeros(97, np.float32), far)]
    result = []
    for reference, model in rows:
        p, q = (r.astype(np.float64) - np.logaddexp.reduce(r.astype(np.float64)) for r in (reference, model))
        kl = float(np.sum(np.exp(p) * (p - q)))
        result.append(
            dict(reference=[float(x) for x in reference], model=[float(x) for x in model], kl=kl, same_top=bool(reference.argmax() == model.argmax()))
        )
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for name, value in (("scores.json", texts()), ("divergence.json", logits())):
        path = args.folder / name
        if args.check:
            old = json.loads(path.read_text(encoding="utf-8"))
            if name == "scores.json":
                old["sacrebleu"] = value["sacrebleu"]
            # A dump and load brings tuples and floats to the same form.
            if not close(old, json.loads(json.dumps(value))):
                raise SystemExit(f"{name} is not what this script writes")
        else:
            path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


def close(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 1e-9 * max(1.0, abs(a))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b


if __name__ == "__main__":
    main()

"""The exact prompts of HY-MT1.5 and Hy-MT2, as the model cards give them.

Convention (the Rust side follows the same): Hy-MT2 uses its Chinese templates, with Chinese language names,
when the source or the target is Chinese, else the English ones. HY-MT1.5 does so for its default prompt;
its terms and context prompts exist in Chinese only and always use Chinese names.

`python prompts.py golden_prompts.json` writes examples for comparison with another implementation.
"""

import json
import sys

EN = {"en": "English", "zh": "Chinese", "de": "German", "fr": "French", "es": "Spanish", "ja": "Japanese"}
ZH = {"en": "英语", "zh": "中文", "de": "德语", "fr": "法语", "es": "西班牙语", "ja": "日语"}
HY_MT15, HY_MT2 = "hy-mt1.5", "hy-mt2"
_TASK_ZH = "将以下文本翻译为{lang}，注意只需要输出翻译后的结果，不要额外解释："


def build(family, source, target, text, terms=(), context=None):
    """The user message for one request. `terms` is a list of (source term, target term)."""
    chinese = "zh" in (source, target)
    if context:
        return _context(family, chinese, target, text, context)
    if terms:
        return _terms(family, chinese, target, text, terms)
    if chinese:
        return _TASK_ZH.format(lang=ZH[target]) + "\n\n" + text
    if family == HY_MT15:
        return f"Translate the following segment into {EN[target]}, without additional explanation.\n\n{text}"
    return (
        f"Translate the following text into {EN[target]}. Note that you should only output the translated result"
        f" without any additional explanation:\n\n{text}"
    )


def _terms(family, chinese, target, text, terms):
    if chinese or family == HY_MT15:
        lines = "".join(f"{a} 翻译成 {b}\n" for a, b in terms)
        task = _TASK_ZH.format(lang=ZH[target])
        if family == HY_MT15:
            return f"参考下面的翻译：\n{lines}\n{task}\n{text}"
        return f"参考下面的翻译：\n{lines}{task}\n\n{text}"
    lines = "".join(f"{a} translates to {b}\n" for a, b in terms)
    return (
        f"Reference the following translations:\n{lines}\nTranslate the following text into {EN[target]}. Note that you"
        f" must ONLY output the translated result without any additional explanation:\n\n{text}"
    )


def _context(family, chinese, target, text, context):
    if family == HY_MT15:
        return f"{context}\n参考上面的信息，把下面的文本翻译成{ZH[target]}，注意不需要翻译上文，也不要额外解释：\n{text}"
    if chinese:
        return f"【背景信息】\n{context}\n\n请结合背景信息将以下文本翻译为{ZH[target]}。\n\n【待翻译文本】\n{text}"
    return (
        f"[Background Information]\n{context}\n\nPlease translate the following text into {EN[target]}, taking the"
        f" provided background information into consideration.\n\n[Source Text]\n{text}"
    )


GOLDEN_REQUESTS = [
    ("default", "en", "zh", "Where is the charging station?", [], None),
    ("default", "zh", "de", "充电站在哪里？", [], None),
    ("default", "de", "fr", "Wo ist die Ladestation?", [], None),
    ("default", "es", "ja", "¿Dónde está la estación de carga?", [], None),
    ("terms", "en", "de", "Where is the charging station?", [("charging station", "Ladesäule")], None),
    ("terms", "en", "zh", "Where is the charging station?", [("charging station", "充电桩")], None),
    ("terms", "fr", "es", "Le robot est dans la cuisine.", [("robot", "Nova"), ("cuisine", "cocina central")], None),
    ("terms", "zh", "ja", "机器人在厨房里。", [("机器人", "ノヴァ"), ("厨房", "調理場")], None),
    ("context", "en", "de", "It is broken.", [], "Where is the printer?"),
    ("context", "en", "zh", "It is broken.", [], "Where is the printer?"),
    ("context", "ja", "fr", "それは壊れています。", [], "プリンターはどこですか？\nロボットが来客を案内しています。"),
]


def golden():
    rows = []
    for family in (HY_MT2, HY_MT15):
        for kind, source, target, text, terms, context in GOLDEN_REQUESTS:
            prompt = build(family, source, target, text, terms, context)
            rows.append(dict(family=family, kind=kind, source=source, target=target, terms=[list(t) for t in terms], context=context, text=text, prompt=prompt))
    return rows


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in golden())
        f.write(f"[\n{rows}\n]\n")

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


def build(family, source, target, text, terms=(), context=None, marked=False):
    """The user message for one request. `terms` is a list of (source term, target term); a `marked` text holds markers."""
    chinese = "zh" in (source, target)
    if marked:
        return _lead_in(family, chinese, terms, context) + _format(family, chinese, target, text)
    if context:
        return _context(family, chinese, target, text, terms, context)
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


def _terms_block(terms, chinese):
    """Header and one line per term, a line break behind each; nothing without terms."""
    if not terms:
        return ""
    if chinese:
        return "参考下面的翻译：\n" + "".join(f"{a} 翻译成 {b}\n" for a, b in terms)
    return "Reference the following translations:\n" + "".join(f"{a} translates to {b}\n" for a, b in terms)


def _context(family, chinese, target, text, terms, context):
    if family == HY_MT15:
        block = _terms_block(terms, True) + "\n" if terms else ""
        return f"{context}\n{block}参考上面的信息，把下面的文本翻译成{ZH[target]}，注意不需要翻译上文，也不要额外解释：\n{text}"
    block = _terms_block(terms, chinese) + "\n" if terms else ""
    if chinese:
        return f"【背景信息】\n{context}\n\n{block}请结合背景信息将以下文本翻译为{ZH[target]}。\n\n【待翻译文本】\n{text}"
    return (
        f"[Background Information]\n{context}\n\n{block}Please translate the following text into {EN[target]}, taking the"
        f" provided background information into consideration.\n\n[Source Text]\n{text}"
    )


def _lead_in(family, chinese, terms, context):
    """Background and terms in front of the task that keeps markers, for which the cards give no such form."""
    block = _terms_block(terms, chinese or family == HY_MT15) + "\n" if terms else ""
    if not context:
        return block
    if family == HY_MT15:
        return f"{context}\n{block}参考上面的信息，"
    return ("【背景信息】" if chinese else "[Background Information]") + f"\n{context}\n\n{block}"


def _format(family, chinese, target, marked):
    """HY-MT1.5's "Formatted Translation" and Hy-MT2's "delimiters"."""
    if family == HY_MT15:
        return (
            f"将以下<source></source>之间的文本翻译为{ZH[target]}，注意只需要输出翻译后的结果，不要额外解释，"
            "原文中的<sn></sn>标签表示标签内文本包含格式信息，需要在译文中相应的位置尽量保留该标签。"
            f"输出格式为：<target>str</target>\n\n<source>{marked}</source>"
        )
    if chinese:
        return (
            f"请将以下文本准确翻译为{ZH[target]}。\n你必须在译文中保留等量的分隔符，绝对不可遗漏、转义或翻译该符号，"
            f"并注意分隔符的位置。\n\n{marked}"
        )
    return (
        f"Please accurately translate the following text into {EN[target]}.\nYou must retain the exact same number of"
        " delimiters in the translation. Strictly do not omit, escape, or translate these symbols, and pay close attention"
        f" to their placement.\n\n{marked}"
    )


def answer(family, marked_reference):
    """What the model should answer to a marked text."""
    return f"<target>{marked_reference}</target>" if family == HY_MT15 else marked_reference


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
    ("context and terms", "en", "de", "The robot is here.", [("robot", "Nova")], "Where is the printer?"),
    ("context and terms", "zh", "ja", "机器人在这里。", [("机器人", "ノヴァ")], "打印机在哪里？"),
    ("context", "ja", "fr", "それは壊れています。", [], "プリンターはどこですか？\nロボットが来客を案内しています。"),
]


# Texts with format: (source, target, text, the same with markers of Hy-MT2, of HY-MT1.5, terms, context).
GOLDEN_FORMAT = [
    ("en", "de", "Take <b>the elevator</b> to {room}.", "Take ⟦1⟧the elevator⟦/1⟧ to ⟦2⟧.", "Take <s1>the elevator</s1> to <s2></s2>.", [], None),
    ("en", "zh", "**Stop** <i>now</i>! 🤖", "⟦1⟧Stop⟦2⟧ ⟦3⟧now⟦/3⟧! ⟦4⟧", "<s1></s1>Stop<s2></s2> <s3>now</s3>! <s4></s4>", [], None),
    ("de", "fr", "- Der <b><i>Aufzug</i></b> ist da.", "⟦1⟧Der ⟦2⟧⟦3⟧Aufzug⟦/3⟧⟦/2⟧ ist da.", "<s1></s1>Der <s2><s3>Aufzug</s3></s2> ist da.", [("Aufzug", "Nova")], None),
    ("ja", "zh", "[ロボット](https://example.org/a)です。", "[ロボット⟦1⟧です。", "[ロボット<s1></s1>です。", [("ロボット", "小新")], None),
    ("es", "en", "Está roto.<br>Mire `map.yaml`.", "Está roto.⟦1⟧Mire ⟦2⟧.", "Está roto.<s1></s1>Mire <s2></s2>.", [], "¿Dónde está la impresora?"),
    ("zh", "de", "它在<u>那边</u>。", "它在⟦1⟧那边⟦/1⟧。", "它在<s1>那边</s1>。", [("那边", "drüben")], "打印机在哪里？\n我在找打印机。"),
    ("fr", "es", "<b>il est</b> <br>là-bas", "⟦1⟧il est⟦/1⟧ ⟦2⟧là-bas", "<s1>il est</s1> <s2></s2>là-bas", [("là-bas", "allí")], "Où est le robot ?"),
]


def golden():
    rows = []
    for family in (HY_MT2, HY_MT15):
        for kind, source, target, text, terms, context in GOLDEN_REQUESTS:
            prompt = build(family, source, target, text, terms, context)
            rows.append(dict(family=family, kind=kind, source=source, target=target, terms=[list(t) for t in terms], context=context, text=text, prompt=prompt))
        for source, target, text, *marked, terms, context in GOLDEN_FORMAT:
            prompt = build(family, source, target, marked[family == HY_MT15], terms, context, marked=True)
            rows.append(dict(family=family, kind="format", source=source, target=target, terms=[list(t) for t in terms], context=context, text=text, prompt=prompt))
    return rows


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in golden())
        f.write(f"[\n{rows}\n]\n")

r"""Text and numbers as LaTeX source of ASCII characters alone: it compiles under pdflatex whatever a name holds."""

from __future__ import annotations

import re
import unicodedata


def _pairs(table: str) -> dict[str, str]:
    """Each first, third, fifth word of the table with the word after it."""
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_TEXT = _pairs(r"""
    \ \textbackslash{}  ^ \textasciicircum{}  ~ \textasciitilde{}  | \textbar{}  < \textless{}  > \textgreater{}
    { \{  } \}  & \&  # \#  % \%  _ \_  " ''  ` \`{}  – --  — ---  ‘ `  ’ '  “ ``  ” ''  … \ldots{}  ‑ -  ⁄ /
    ß \ss{}  æ \ae{}  Æ \AE{}  ø \o{}  Ø \O{}  œ \oe{}  Œ \OE{}  ł \l{}  Ł \L{}  ı \i{}  © (c)  € EUR
""")
_TEXT |= {"[": "{[}", "]": "{]}", "*": "{*}"}  # at the start of a table's row these would be an argument of \\
# In mathematics; there the dollar and the section sign need no font beyond LaTeX's own.
_MATHS = _pairs(r"""
    $ \$  § \S  ± \pm  × \times  · \cdot  − -  ≥ \geq  ≤ \leq  ≠ \neq  ≈ \approx  ∼ \sim  ∝ \propto  ∈ \in  ∞ \infty
    → \rightarrow  ← \leftarrow  ↔ \leftrightarrow  ↑ \uparrow  ↓ \downarrow  ⇒ \Rightarrow  ‖ \|  ∑ \sum  ∂ \partial
    √ \surd  ∇ \nabla  ° {}^\circ  ² {}^2  ³ {}^3  µ \mu  α \alpha  β \beta  γ \gamma  δ \delta  ε \epsilon  ζ \zeta
    η \eta  θ \theta  ι \iota  κ \kappa  λ \lambda  μ \mu  ν \nu  ξ \xi  π \pi  ρ \rho  σ \sigma  ς \varsigma  τ \tau
    υ \upsilon  φ \phi  χ \chi  ψ \psi  ω \omega  Γ \Gamma  ∆ \Delta  Δ \Delta  Θ \Theta  Λ \Lambda  Ξ \Xi  Π \Pi
    Σ \Sigma  Φ \Phi  Ψ \Psi  Ω \Omega
""")
_SAFE = _TEXT | {character: f"${source}$" for character, source in _MATHS.items()}
# Combining characters and LaTeX's accents: grave, acute, circumflex, tilde, macron, breve, dot, diaeresis, ring, ...
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."},
    **{"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c", "\u0323": "d", "\u0331": "b"},
}
_WORD_LETTERS = 40


def escape(text: str) -> str:
    """Text on one line, printed as it is; a character without a LaTeX command becomes its code point, `U+1F600`."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    # Two of these in a row would be read as a dash or a quotation mark.
    parts = re.split(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)", line)
    return "{}".join("".join(map(_character, part)) for part in parts)


def _character(character: str) -> str:
    if character in _SAFE:
        return _SAFE[character]
    if " " <= character <= "~":
        return character
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if marks and base.isascii() and all(mark in _ACCENTS for mark in marks):
        for mark in marks:
            base = rf"\{_ACCENTS[mark]}{{{base}}}"
        return base
    plain = unicodedata.normalize("NFKC", character)
    return "".join(map(_character, plain)) if plain != character else rf"\texttt{{U+{ord(character):04X}}}"


def shortened(name: str, letters: int) -> str:
    """A name of at most so many letters: a longer one without its middle."""
    half = (letters - 1) // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"


def prose(text: str) -> str:
    """Running text, escaped, its words short enough for any line."""
    return escape(" ".join(shortened(word, _WORD_LETTERS) for word in text.split()))


def number(text: str, bold: bool = False) -> str:
    r"""A number as `reports.analysis.comparison` prints it, as LaTeX; none as `--`.

    text: for example `123.44 ± 0.51`, `294.8 ± 1.0 G`, `(1.00 ± 0.30)e-5` or `0.18x`.

    bold: the value, not its spread.
    """
    if text in ("", "–"):
        return "--"
    found = re.fullmatch(r"(\(?)(-?[\d.]+)(?: ± ([\d.]+))?(\)?)(?:e(-?\d+))?(?: ([kMGTPEZY]))?(x?)", text)
    if found is None:
        return escape(text)
    opening, value, spread, closing, exponent, prefix, times = found.groups()
    source = opening + (rf"\mathbf{{{value}}}" if bold else value)
    source += (rf" \pm {spread}" if spread else "") + closing
    source += rf" \times 10^{{{int(exponent)}}}" if exponent else ""
    return f"${source}" + (r"\times$" if times else "$") + (f" {prefix}" if prefix else "")

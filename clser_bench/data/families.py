"""Language families, by which tables can be summed up.

Reference: Glottolog (https://glottolog.org); branches where a family has several here.
"""

from __future__ import annotations

FAMILIES = {
    "Germanic": ("da", "de", "en", "is", "nb", "nl", "nn", "no", "sv"),
    "Romance": ("ca", "es", "fr", "gl", "it", "pt", "ro"),
    "Slavic": ("bg", "bs", "cs", "hr", "mk", "pl", "ru", "sk", "sl", "sr", "uk"),
    "Indo-Iranian": ("bn", "fa", "gu", "hi", "mr", "ne", "pa", "ps", "ur"),
    "Sinitic": ("cmn", "hak", "nan", "wuu", "yue", "zh"),
    "Turkic": ("az", "kk", "ky", "tr", "ug", "uz"),
    "Uralic": ("et", "fi", "hu"),
    "Semitic": ("am", "ar", "he", "mt"),
    "Dravidian": ("kn", "ml", "ta", "te"),
    "Japonic": ("ja",),
    "Koreanic": ("ko",),
}


def family(language: str) -> str:
    """The family of a language; the language itself where none is listed.

    Args:
        language: BCP 47 tag, such as `de` or `pt-BR`.
    """
    base = language.partition("-")[0].lower()
    for name, members in FAMILIES.items():
        if base in members:
            return name
    return language

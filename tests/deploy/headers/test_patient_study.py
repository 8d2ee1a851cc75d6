"""Patient and study of outputs: those of the source, also if its header is invalid."""

import pytest
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset

from tests.deploy.headers.all_outputs import outputs_of
from tests.deploy.sources import write_mammogram

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, for the invalid values


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AccessionNumber", "2024-CHEST-00000012"),
        ("StudyID", "STUDY-0123456789-ABC"),
        ("PatientID", "P" * 65),
        ("IssuerOfPatientID", "H" * 65),
        ("PatientName", "A" * 70 + "^B"),
    ],
)
def test_identifiers_that_are_too_long_are_kept(tmp_path, keyword, value):
    write_mammogram(tmp_path / "a.dcm", **{keyword: value})
    assert {kind: str(made[keyword].value) for kind, made in outputs_of(tmp_path / "a.dcm").items()} == dict.fromkeys(
        ("SEG", "SR", "GSPS", "CAD SR"), value
    )


@pytest.mark.parametrize(
    ("term", "name", "expected"),
    [
        ("ISO-IR 192", "山田^太郎", "ISO_IR 192"),
        ("UTF-8", "山田^太郎", "ISO_IR 192"),
        ("ISO-IR 144", "Иванов^Пётр", "ISO_IR 192"),
        ("ISO_IR 192", "山田^太郎", "ISO_IR 192"),
        ("ISO_IR 144", "Иванов^Пётр", "ISO_IR 144"),
    ],
)
def test_names_of_misspelled_character_sets_are_written_in_utf_8(tmp_path, term, name, expected):
    encoded = name.encode(convert_encodings(term)[0])
    write_mammogram(tmp_path / "a.dcm", SpecificCharacterSet="ISO_IR 100", PatientName="N" * len(encoded))
    replace_bytes(tmp_path / "a.dcm", b"N" * len(encoded), encoded)
    replace_bytes(tmp_path / "a.dcm", b"ISO_IR 100", term.encode().ljust(10))
    for kind, made in outputs_of(tmp_path / "a.dcm").items():
        assert (kind, made.SpecificCharacterSet, str(made.PatientName)) == (kind, expected, name)


def test_names_of_unknown_character_sets_keep_their_bytes(tmp_path):
    name = "山田".encode()
    write_mammogram(tmp_path / "a.dcm", SpecificCharacterSet="ISO_IR 100", PatientName="N" * len(name))
    replace_bytes(tmp_path / "a.dcm", b"N" * len(name), name)
    replace_bytes(tmp_path / "a.dcm", b"ISO_IR 100", b"ISO_IR_192")
    for made in outputs_of(tmp_path / "a.dcm").values():
        assert made.PatientName.original_string == name


def replace_bytes(path, old, new):
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def test_further_identifiers_are_those_of_the_source_without_private_elements(tmp_path):
    other, issuer, qualifier = Dataset(), Dataset(), Dataset()
    other.PatientID, other.TypeOfPatientID = "OTHER", "TEXT"
    other.private_block(0x0009, "private", create=True).add_new(1, "LO", "secret")
    issuer.LocalNamespaceEntityID = "RIS"
    qualifier.UniversalEntityID, qualifier.UniversalEntityIDType = "1.2.3", "ISO"
    write_mammogram(
        tmp_path / "a.dcm",
        OtherPatientIDsSequence=[other], IssuerOfAccessionNumberSequence=[issuer],
        IssuerOfPatientIDQualifiersSequence=[qualifier], QualityControlSubject="YES",
    )  # fmt: skip
    for made in outputs_of(tmp_path / "a.dcm").values():
        assert made.OtherPatientIDsSequence[0].PatientID == "OTHER"
        assert made.IssuerOfAccessionNumberSequence == [issuer]
        assert made.IssuerOfPatientIDQualifiersSequence == [qualifier]
        assert made.QualityControlSubject == "YES"
        assert "secret" not in str(made)

"""Stands in for a decoder that ends its process; in a module of its own, so that another process can import it."""

import os


def crash_for_patient(header):
    """Ends the process if the patient is called 'crash', and raises an error for 'fail'."""
    if header.PatientID == "crash":
        os._exit(9)
    if header.PatientID == "fail":
        raise TypeError("Doe^Jane")
    return header

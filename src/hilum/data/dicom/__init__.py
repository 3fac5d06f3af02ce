"""DICOM: from the bytes of a file to the grey levels that a viewer would show, and to what the header says.

    header    bytes -> dataset, quietly; what is no chest radiograph is named
    pixels    dataset -> stored values (native, RLE, JPEG, JPEG-LS, JPEG 2000)
    lossless  JPEG lossless (ITU-T T.81, process 14), which no free plug-in decodes
    grey      stored values -> uint8: modality and VOI LUT, window, photometric interpretation, padding
    people    who and where, pseudonymised by a keyed hash
    index     a folder or a DICOMDIR -> the DICOM files in it

`hilum.data.decode.read_grey` is the way in for images, `hilum.data.sources.dicom` for folders.
"""

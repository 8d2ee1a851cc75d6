from .write_html import REPORT_FILE as REPORT_FILE
from .write_html import write_html as write_html
from .write_html import write_layers_of as write_layers_of
from .write_html import write_page as write_page

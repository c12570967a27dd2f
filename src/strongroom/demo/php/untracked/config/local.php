<?php

// What differs from server to server; holds nothing secret.
return [
    'site' => 'https://training.example.ae',
    'time_zone' => 'Asia/Dubai',
    'certificate_footer' => 'Gulf Training Institute, Dubai',
];
